-- The same packets inside DTLS: a record carries one, and a type byte is all its header.
--
-- One byte tells little, so a flow must be this VPN's: its client and gateway have a TLS tunnel, or it has carried an IP
-- packet that is one to the last byte.

local flows, flow_count = {}, 0

local function forget_flows()
    flows, flow_count = {}, 0
end

local function remember_flow(key)
    if flow_count >= MAX_STREAMS then
        forget_flows()
    end
    flow_count = flow_count + 1
    flows[key] = true
end

-- RFC 1071 over an IPv4 header: all words, the checksum with them, sum to ffff.
local function sums_up(header)
    local sum = 0
    for i = 0, header:len() - 2, 2 do
        sum = sum + header(i, 2):uint()
    end
    return sum > 0 and sum % 65535 == 0
end

-- An IP packet as long as it says, with a header that cannot be chance.
local function is_packet(payload)
    local len = payload:len()
    if len < 20 then
        return false
    end
    local first = payload(0, 1):uint()
    if first >= 0x60 and first < 0x70 then
        return len >= 40 and payload(4, 2):uint() == len - 40 and payload(7, 1):uint() > 0
    end
    local header = first % 16 * 4
    if first < 0x45 or first > 0x4f or header > len then
        return false
    end
    return payload(2, 2):uint() == len and sums_up(payload(0, header))
end

local function dtls_payload(tvb, pinfo, tree)
    local len = tvb:len()
    if len == 0 then
        return false
    end
    local kind = tvb(0, 1):uint()
    local payload = len > 1 and tvb(1) or nil
    local key = key_of(pinfo)
    if not flows[key] then
        local is_first = kind == DATA and payload and is_packet(payload)
        if not is_first and not (peers[peers_of(pinfo)] and TYPES[kind]) then
            return false
        end
        remember_flow(key)
    end
    local item = tree:add(cstp, tvb())
    item:append_text(" over DTLS: " .. type_name(kind))
    item:add(f.type, tvb(0, 1))
    tunnel_payload(kind, payload, pinfo, item, item)
    return true
end

cstp:register_heuristic("dtls", dtls_payload)
