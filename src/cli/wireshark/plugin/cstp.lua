-- CSTP inside TLS: HTTP up to the answer to CONNECT, then packets with a header of 8 bytes.
--
--   0    3  `STF`            6  1  type
--   3    1  version, 1       7  1  0
--   4    2  payload length, big endian

local HEADER = 8
local MAGIC = "STF\1"
-- Streams remembered; all are forgotten beyond, and found again by their next packet.
local MAX_STREAMS = 100000
-- Bytes of a request that are searched for signs.
local MAX_HEAD = 4096

-- Only clients of this VPN say these in a request, in lower case.
local SIGNS = {
    "^%l+ /cscossl",
    "^%l+ /%+csco%l%+/",
    "^%l+ /%+webvpn%+/",
    "\nuser%-agent:[^\n]*anyconnect",
    "\nx%-aggregate%-auth:",
    "\nx%-transcend%-version:",
    "\nx%-anyconnect%-",
    "\nx%-cstp%-version:",
}

-- Connections of this VPN: `http` until the tunnel is up, then `tunnel`, with the frame that made it so.
local streams, stream_count = {}, 0
-- Client and gateway that have such a connection: their DTLS is this VPN's too.
local peers = {}

local function key_of(pinfo)
    local one = tostring(pinfo.src) .. " " .. pinfo.src_port
    local other = tostring(pinfo.dst) .. " " .. pinfo.dst_port
    if other < one then
        one, other = other, one
    end
    return one .. " " .. other
end

local function peers_of(pinfo)
    local one, other = tostring(pinfo.src), tostring(pinfo.dst)
    if other < one then
        one, other = other, one
    end
    return one .. " " .. other
end

local function remember(pinfo)
    local key = key_of(pinfo)
    local stream = streams[key]
    if stream then
        return stream
    end
    if stream_count >= MAX_STREAMS then
        streams, peers, stream_count = {}, {}, 0
    end
    stream_count = stream_count + 1
    stream = {}
    streams[key] = stream
    peers[peers_of(pinfo)] = true
    return stream
end

local function forget_streams()
    streams, peers, stream_count = {}, {}, 0
end

-- Whole packets from `offset` on; asks TLS for the rest of one that goes on in the next record.
local function packets(tvb, offset, pinfo, tree)
    local len = tvb:len()
    while offset < len do
        local left = len - offset
        local begins = tvb:raw(offset, math.min(left, #MAGIC))
        if begins ~= MAGIC:sub(1, #begins) then
            local item = tree:add(cstp, tvb(offset))
            item:add_proto_expert_info(misframed)
            return
        end
        local payload = left >= HEADER and tvb(offset + 4, 2):uint()
        if not payload or left < HEADER + payload then
            pinfo.desegment_offset = offset
            pinfo.desegment_len = payload and HEADER + payload - left or DESEGMENT_ONE_MORE_SEGMENT
            return
        end
        local kind = tvb(offset + 6, 1):uint()
        local item = tree:add(cstp, tvb(offset, HEADER + payload))
        item:append_text(": " .. type_name(kind))
        item:add(f.magic, tvb(offset, 3))
        item:add(f.version, tvb(offset + 3, 1))
        item:add(f.length, tvb(offset + 4, 2))
        item:add(f.type, tvb(offset + 6, 1))
        item:add(f.reserved, tvb(offset + 7, 1))
        tunnel_payload(kind, payload > 0 and tvb(offset + HEADER, payload) or nil, pinfo, item, item)
        offset = offset + HEADER + payload
    end
end

local http

-- Hands HTTP on to Wireshark's dissector. Claiming it here, instead of leaving it to Wireshark's own heuristic, keeps the
-- connection ours: that one binds a connection to HTTP for good, and the tunnel behind CONNECT would stay unread.
local function pass_http(tvb, pinfo, tree)
    http = http or Dissector.get("http")
    if not pcall(http.call, http, tvb, pinfo, tree) then
        tree:add_proto_expert_info(broken)
    end
    return true
end

local function has_signs(tvb)
    local head = tvb:raw(0, math.min(tvb:len(), MAX_HEAD))
    if not head:find("^%u+ [^\r\n]+ HTTP/1%.%d\r?\n") then
        return false
    end
    head = head:lower()
    for _, sign in ipairs(SIGNS) do
        if head:find(sign) then
            return true
        end
    end
    return false
end

-- The bytes begin a packet, as far as they go.
local function begins_packet(tvb, is_known)
    local len = tvb:len()
    if len < HEADER then
        return is_known and tvb:raw(0, math.min(len, #MAGIC)) == MAGIC:sub(1, len)
    end
    return tvb:raw(0, #MAGIC) == MAGIC and (is_known or tvb(7, 1):uint() == 0)
end

-- The answer to CONNECT: behind its head the tunnel begins, in the same record if the gateway is in a hurry.
local function connect_answer(tvb, stream, pinfo, tree)
    local _, head = tvb:raw(0, math.min(tvb:len(), MAX_HEAD)):find("\r\n\r\n", 1, true)
    if not head then
        return pass_http(tvb, pinfo, tree)
    end
    stream.tunnel = stream.tunnel or pinfo.number
    pass_http(tvb(0, head):tvb(), pinfo, tree)
    -- Without a Content-Length HTTP would wait for the end of the connection.
    pinfo.desegment_len = 0
    if head < tvb:len() then
        packets(tvb, head, pinfo, tree)
    end
    return true
end

-- Whether TLS opened something of this VPN, and if so what it is; false leaves it to the other heuristics.
local function tls_payload(tvb, pinfo, tree)
    local len = tvb:len()
    if len == 0 then
        return false
    end
    local stream = streams[key_of(pinfo)]
    local in_tunnel = stream and stream.tunnel and pinfo.number >= stream.tunnel
    if begins_packet(tvb, in_tunnel) then
        stream = stream or remember(pinfo)
        stream.tunnel = stream.tunnel or pinfo.number
        packets(tvb, 0, pinfo, tree)
        return true
    end
    if has_signs(tvb) then
        stream = stream or remember(pinfo)
        if not pinfo.visited then
            -- A new connection may have the old one's ports.
            stream.tunnel = nil
            stream.connect = tvb:raw(0, math.min(len, 8)) == "CONNECT " and pinfo.number or nil
        end
        return pass_http(tvb, pinfo, tree)
    end
    if not stream then
        return false
    end
    local is_answer = tvb:raw(0, math.min(len, 16)):find("^HTTP/1%.%d 200") ~= nil
    if is_answer and stream.connect and pinfo.number >= stream.connect then
        return connect_answer(tvb, stream, pinfo, tree)
    end
    if in_tunnel and not is_answer then
        packets(tvb, 0, pinfo, tree)
        return true
    end
    return pass_http(tvb, pinfo, tree)
end

-- The last payload was left to the heuristics behind this one; being raised, this one accepts what it is asked.
local is_behind, is_raising = false, false

local function asked(tvb, pinfo, tree)
    local is_ours = is_raising or tls_payload(tvb, pinfo, tree)
    is_behind = not is_ours
    return is_ours
end

-- Wireshark asks a heuristic that accepted first the next time. HTTP's would be asked before this one from then on, and take
-- every tunnel from its CONNECT on; so after each frame in which another may have accepted, this one accepts a byte. The
-- ports of no connection: HTTP's accepts whatever comes on one it knows.
local function ask_first_again(tvb, pinfo, tree)
    if not is_behind then
        return
    end
    local from, to = pinfo.src_port, pinfo.dst_port
    pinfo.src_port, pinfo.dst_port = 0, 0
    is_raising = true
    pcall(DissectorTable.try_heuristics, "tls", tvb(0, 1):tvb(), pinfo, tree)
    is_raising, is_behind = false, false
    pinfo.src_port, pinfo.dst_port = from, to
end

cstp:register_heuristic("tls", asked)
