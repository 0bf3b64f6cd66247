-- One packet of the tunnel, whichever channel brought it.

local TYPES = {
    [0] = "DATA",
    [3] = "DPD-REQ",
    [4] = "DPD-RESP",
    [5] = "DISCONNECT",
    [7] = "KEEPALIVE",
    [8] = "COMPRESSED",
    [9] = "TERMINATE",
}
local DATA, DISCONNECT, TERMINATE = 0, 5, 9

local REASONS = {
    [0x70] = "local error",
    [0x91] = "VPN reconnect, the session is kept",
    [0xb0] = "the user disconnects, the session is over",
    [0xd1] = "pause, the session is kept",
}
local SEVERITIES =
    { [0] = "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debugging" }

-- Packets of one frame that are handed on to IP: a TLS record of 16384 bytes holds no more of 40 with their headers.
local MAX_WAITING = 512

local f = {
    magic = ProtoField.string("cstp.magic", "Magic"),
    version = ProtoField.uint8("cstp.version", "Version"),
    length = ProtoField.uint16("cstp.length", "Length", base.DEC, nil, nil, "Payload bytes, the header not counted"),
    type = ProtoField.uint8("cstp.type", "Type", base.DEC, TYPES),
    reserved = ProtoField.uint8("cstp.reserved", "Reserved", base.HEX),
    reason = ProtoField.uint8("cstp.reason", "Reason", base.HEX, REASONS),
    severity = ProtoField.uint8("cstp.reason.severity", "Severity", base.DEC, SEVERITIES, 0xe0),
    class = ProtoField.uint8("cstp.reason.class", "Kind of message", base.DEC, nil, 0x1f),
    text = ProtoField.string("cstp.text", "Text"),
    payload = ProtoField.bytes("cstp.payload", "Payload"),
}
local misframed = ProtoExpert.new("cstp.misframed", "Not a CSTP packet where one has to begin", expert.group.MALFORMED, expert.severity.WARN)
local is_over = ProtoExpert.new("cstp.bye", "The tunnel ends", expert.group.SEQUENCE, expert.severity.CHAT)

cstp.fields =
    { f.magic, f.version, f.length, f.type, f.reserved, f.reason, f.severity, f.class, f.text, f.payload }
local broken = ProtoExpert.new("cstp.broken", "What is inside is cut or malformed", expert.group.MALFORMED, expert.severity.WARN)
cstp.experts = { misframed, is_over, broken }
cstp.prefs.inner = Pref.bool("Dissect the packets inside", true, "Their connections are counted in tcp.stream and udp.stream too")

local function type_name(kind)
    return TYPES[kind] or string.format("type %d", kind)
end

-- Lines of the packet list: one name a packet, like ones together.
local function say(pinfo, kind)
    local info = tostring(pinfo.cols.info)
    if waiting.said ~= pinfo.number then
        waiting.said = pinfo.number
        pinfo.cols.protocol = "CSTP"
        pinfo.cols.info = type_name(kind)
    elseif #info < 200 then
        pinfo.cols.info:append(", " .. type_name(kind))
    end
end

-- Keeps an IP packet until the frame is done: dissecting it here would change the addresses and the port type that TLS
-- and TCP go on to look up this connection by.
local function hand_on(payload, pinfo)
    if waiting.frame ~= pinfo.number then
        waiting = { frame = pinfo.number, said = waiting.said }
    end
    if #waiting < MAX_WAITING then
        waiting[#waiting + 1] = payload:bytes()
    end
end

-- What a DISCONNECT or TERMINATE says: a reason byte and text, both optional.
local function bye(payload, tree, item)
    local reason = payload(0, 1)
    local sub = tree:add(f.reason, reason)
    sub:add(f.severity, reason)
    sub:add(f.class, reason)
    local said = REASONS[reason:uint()] or "another reason"
    if payload:len() > 1 then
        tree:add(f.text, payload(1))
    end
    item:add_proto_expert_info(is_over, "The tunnel ends: " .. said)
end

-- Adds payload `payload` (nil when empty) of a packet of type `kind` to `tree`.
local function tunnel_payload(kind, payload, pinfo, tree, item)
    say(pinfo, kind)
    if not payload then
        return
    end
    local nibble = math.floor(payload(0, 1):uint() / 16)
    if kind == DATA and (nibble == 4 or nibble == 6) then
        tree:add(f.payload, payload):set_text(string.format("IPv%d packet, %d bytes", nibble, payload:len()))
        hand_on(payload, pinfo)
    elseif kind == DISCONNECT or kind == TERMINATE then
        bye(payload, tree, item)
    else
        tree:add(f.payload, payload)
    end
end
