-- JSON (RFC 8259), for a file nobody vouches for: nothing in it can make this run long, deep or big.

-- Bytes of a report; one of 100,000 sessions is larger, and its capture is not one to click through.
local MAX_REPORT = 64 * 1024 * 1024
-- Arrays and objects within one another; a report has 6.
local MAX_DEPTH = 32
-- Values in all.
local MAX_VALUES = 2500000
-- Bytes of a string that are kept; Wireshark shows 240.
local MAX_STRING = 1000

local REPLACEMENT = "\239\191\189"

-- UTF-8 of a code point; what is none becomes U+FFFD.
local function utf8_of(code)
    if code < 0x80 then
        return string.char(code)
    elseif code < 0x800 then
        return string.char(0xc0 + math.floor(code / 0x40), 0x80 + code % 0x40)
    elseif code >= 0xd800 and code < 0xe000 or code > 0x10ffff then
        return REPLACEMENT
    elseif code < 0x10000 then
        return string.char(0xe0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return string.char(
        0xf0 + math.floor(code / 0x40000),
        0x80 + math.floor(code / 0x1000) % 0x40,
        0x80 + math.floor(code / 0x40) % 0x40,
        0x80 + code % 0x40
    )
end

-- Bytes of the UTF-8 character at `i`, or nil: RFC 3629, without overlong forms and surrogates.
local function char_len(s, i)
    local a, b, c, d = s:byte(i, i + 3)
    local function tail(x)
        return x and x >= 0x80 and x < 0xc0
    end
    if a < 0x80 then
        return 1
    elseif a >= 0xc2 and a < 0xe0 then
        return tail(b) and 2
    elseif a >= 0xe0 and a < 0xf0 then
        local low, high = a == 0xe0 and 0xa0 or 0x80, a == 0xed and 0xa0 or 0xc0
        return b and b >= low and b < high and tail(c) and 3
    elseif a >= 0xf0 and a < 0xf5 then
        local low, high = a == 0xf0 and 0x90 or 0x80, a == 0xf4 and 0x90 or 0xc0
        return b and b >= low and b < high and tail(c) and tail(d) and 4
    end
    return nil
end

-- Text that can be shown: control characters and what is not UTF-8 become U+FFFD, and it is not longer than MAX_STRING.
local function clean(s)
    s = s:sub(1, MAX_STRING)
    if not s:find("[%z\1-\31\127-\255]") then
        return s
    end
    local out, i = {}, 1
    while i <= #s do
        local len = char_len(s, i)
        local byte, after = s:byte(i, i + 1)
        local is_control = byte < 0x20 or byte == 0x7f or len == 2 and byte == 0xc2 and after < 0xa0
        local ok = len and not is_control
        out[#out + 1] = ok and s:sub(i, i + len - 1) or REPLACEMENT
        i = i + (len or 1)
    end
    return table.concat(out)
end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local NULL = {}

-- The value of JSON text `s`; an error, to be caught, when it is none or too much.
local function parse_json(s)
    local values = 0
    local value

    local function fail(at, why)
        error(string.format("byte %d: %s", at, why), 0)
    end

    local function skip(at)
        return s:find("[^ \t\r\n]", at) or #s + 1
    end

    local function escape(at)
        local hex = s:match("^u(%x%x%x%x)", at)
        if not hex then
            local plain = ESCAPES[s:sub(at, at)]
            return plain or fail(at, "an escape that does not exist"), at + 1
        end
        local code = tonumber(hex, 16)
        local low = code >= 0xd800 and code < 0xdc00 and s:match("^\\u([dD][c-fC-F]%x%x)", at + 5)
        if low then
            code = 0x10000 + (code - 0xd800) * 0x400 + tonumber(low, 16) - 0xdc00
            return utf8_of(code), at + 11
        end
        return utf8_of(code), at + 5
    end

    -- `at` is behind the opening quote.
    local function string_at(at)
        local out, kept = {}, 0
        while true do
            local stop = s:find('["\\]', at) or fail(at, "a string without an end")
            if kept < MAX_STRING then
                out[#out + 1] = s:sub(at, math.min(stop - 1, at + MAX_STRING))
                kept = kept + #out[#out]
            end
            if s:sub(stop, stop) == '"' then
                return table.concat(out), stop + 1
            end
            local char
            char, at = escape(stop + 1)
            if kept < MAX_STRING then
                out[#out + 1] = char
                kept = kept + #char
            end
        end
    end

    local function array(at, depth)
        local list = {}
        at = skip(at)
        if s:sub(at, at) == "]" then
            return list, at + 1
        end
        while true do
            list[#list + 1], at = value(at, depth)
            at = skip(at)
            local sign = s:sub(at, at)
            if sign == "]" then
                return list, at + 1
            elseif sign ~= "," then
                fail(at, "neither , nor ]")
            end
            at = at + 1
        end
    end

    local function object(at, depth)
        local map = {}
        at = skip(at)
        if s:sub(at, at) == "}" then
            return map, at + 1
        end
        while true do
            at = skip(at)
            if s:sub(at, at) ~= '"' then
                fail(at, "no name")
            end
            local name
            name, at = string_at(at + 1)
            at = skip(at)
            if s:sub(at, at) ~= ":" then
                fail(at, "no :")
            end
            map[name], at = value(at + 1, depth)
            at = skip(at)
            local sign = s:sub(at, at)
            if sign == "}" then
                return map, at + 1
            elseif sign ~= "," then
                fail(at, "neither , nor }")
            end
            at = at + 1
        end
    end

    function value(at, depth)
        values = values + 1
        if values > MAX_VALUES then
            fail(at, "too many values")
        elseif depth > MAX_DEPTH then
            fail(at, "nested too deep")
        end
        at = skip(at)
        local sign = s:sub(at, at)
        if sign == '"' then
            return string_at(at + 1)
        elseif sign == "{" then
            return object(at + 1, depth + 1)
        elseif sign == "[" then
            return array(at + 1, depth + 1)
        end
        local word = s:match("^%l+", at)
        if word == "true" or word == "false" then
            return word == "true", at + #word
        elseif word == "null" then
            return NULL, at + 4
        end
        local digits = s:match("^%-?%d[%d.eE+-]*", at)
        local number = digits and #digits < 40 and tonumber(digits)
        return number or fail(at, "no value"), at + #digits
    end

    local found, at = value(1, 0)
    if skip(at) <= #s then
        fail(at, "something behind the end")
    end
    return found
end
