-- The packets inside, handed to Wireshark's own dissectors when the frame that carried them is done.

local ip, ipv6

local function hand_on_waiting(pinfo, tree)
    if waiting.frame ~= pinfo.number or not cstp.prefs.inner then
        return
    end
    ip = ip or Dissector.get("ip")
    ipv6 = ipv6 or Dissector.get("ipv6")
    -- The columns are for what is inside; several packets stand in one line, one behind the other.
    local info = pinfo.cols.info
    info:clear_fence()
    info:clear()
    local i = 1
    -- A tunnel inside the tunnel adds to the list while it is worked off; MAX_WAITING bounds both.
    while i <= #waiting do
        if i > 1 then
            info:append(" \194\183 ")
            info:fence()
        end
        local bytes = waiting[i]
        local dissector = bytes:get_index(0) >= 0x60 and ipv6 or ip
        -- One that is cut or malformed does not take the others with it.
        local ok = pcall(dissector.call, dissector, bytes:tvb("Packet inside the tunnel"), pinfo, tree)
        if not ok then
            tree:add_proto_expert_info(broken)
        end
        i = i + 1
    end
end
