-- Called for each frame when all others are done with it, and for each capture before its first frame.

function acpcap.dissector(tvb, pinfo, tree)
    ask_first_again(tvb, pinfo, tree)
    hand_on_waiting(pinfo, tree)
    mark_frame(pinfo, tree)
    -- The same frame may be the next one too, when somebody clicks on it.
    waiting = { frame = 0 }
    return 0
end

function acpcap.init()
    waiting = { frame = 0 }
    forget_streams()
    forget_flows()
    load_report()
end

register_postdissector(acpcap)
