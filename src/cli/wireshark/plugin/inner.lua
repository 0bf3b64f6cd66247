-- The packets inside, handed to Wireshark's own dissectors when the frame that carried them is done.

local ip, ipv6

local function hand_on_waiting(pinfo, tree)
    if waiting.frame ~= pinfo.number then
        return false
    end
    if not cstp.prefs.inner then
        waiting = { frame = 0, said = waiting.said }
        return false
    end
    ip = ip or Dissector.get("ip")
    ipv6 = ipv6 or Dissector.get("ipv6")
    local i = 1
    -- A tunnel inside the tunnel adds to the list while it is worked off; MAX_WAITING bounds both.
    while i <= #waiting do
        local bytes = waiting[i]
        local dissector = bytes:get_index(0) >= 0x60 and ipv6 or ip
        -- One that is cut or malformed does not take the others with it.
        local ok = pcall(dissector.call, dissector, bytes:tvb("Packet inside the tunnel"), pinfo, tree)
        if not ok then
            tree:add_proto_expert_info(broken)
        end
        i = i + 1
    end
    waiting = { frame = 0, said = waiting.said }
    return true
end
