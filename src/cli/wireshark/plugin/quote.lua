-- One command line from its words, so that the shell takes each word as it is, whatever stands in it.

local IS_WINDOWS = package.config:sub(1, 1) == "\\"

-- A word in quotes, or nil when the shell has none that would hold it.
local function quote(word)
    if IS_WINDOWS then
        -- Inside quotes cmd still expands %NAME% and !NAME!; a file name cannot hold ".
        if word:find('[%z\1-\31"%%!]') then
            return nil
        end
        -- A backslash before the closing quote would hide it.
        return '"' .. word:gsub("\\+$", "%0%0") .. '"'
    end
    if word:find("%z") then
        return nil
    end
    return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function command_line(words)
    local quoted = {}
    for i, word in ipairs(words) do
        quoted[i] = quote(word)
        if not quoted[i] then
            return nil
        end
    end
    local line = table.concat(quoted, " ") .. " 2>&1"
    -- cmd takes the outermost quotes away.
    return IS_WINDOWS and '"' .. line .. '"' or line
end

-- A path that no program takes for an option or for acpcap's VANTAGE:FILE.
local function plain_path(path)
    local is_absolute = path:find("^/") or IS_WINDOWS and path:find("^%a:[/\\]") or IS_WINDOWS and path:find("^\\\\")
    return is_absolute and path or (IS_WINDOWS and ".\\" or "./") .. path
end
