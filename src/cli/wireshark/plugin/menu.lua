-- Tools > acpcap: runs acpcap on a capture, shows its report, and marks its evidence.
--
-- Wireshark waits meanwhile. Plugins are not told the name of the open capture, so the dialog asks for it.

-- Bytes of output shown.
local MAX_SHOWN = 1024 * 1024

-- Windows that are open: one that Lua forgets is closed.
local windows = {}

local function show(title, text)
    local window = TextWindow.new(title)
    windows[window] = true
    window:set_atclose(function()
        windows[window] = nil
    end)
    window:set(text)
end

local function is_readable(path)
    local file = io.open(path, "rb")
    return file ~= nil and file:close() ~= nil
end

-- What Wireshark decrypts with; "" when it has no key log.
local function key_log()
    local ok, path = pcall(get_preference, "tls.keylog_file")
    return ok and type(path) == "string" and path or ""
end

local function reload_capture()
    (reload_packets or reload)()
end

local function analyze(capture, keys)
    if capture == "" or not is_readable(capture) then
        show("acpcap", capture == "" and "No capture was named." or "The capture cannot be opened: " .. clean(capture))
        return
    end
    local result = capture .. SUFFIX
    local program = acpcap.prefs.program ~= "" and acpcap.prefs.program or PROGRAM
    local words = { program, "analyze", "--quiet", "--color", "never", "--format", "text", "--format", "json=" .. result }
    if keys ~= "" then
        words[#words + 1] = "--keylog=" .. keys
    end
    words[#words + 1] = "--"
    words[#words + 1] = plain_path(capture)
    local line = command_line(words)
    local pipe = line and io.popen(line, "r")
    if not pipe then
        show("acpcap", "The file's name cannot be given to a program on this system. Rename it.")
        return
    end
    local output = pipe:read(MAX_SHOWN) or ""
    pipe:close()
    if is_readable(result) then
        chosen = result
        reload_capture()
        if report and report.problem then
            output = "The evidence is not marked: " .. clean(report.problem) .. "\n\n" .. output
        end
    end
    show("acpcap: " .. clean(name_of(capture)), output)
end

local function ask_for_capture()
    local guess = capture_of_command_line() or ""
    new_dialog("acpcap: analyze a capture", analyze, { name = "Capture file", value = guess }, { name = "Key log file, if any", value = key_log() })
end

local function show_report(path)
    chosen = path
    reload_capture()
end

local function ask_for_report()
    new_dialog("acpcap: show a report", show_report, { name = "Report (JSON)", value = report and report.path or "" })
end

local function show_state()
    local lines = { "acpcap plugin " .. VERSION, "" }
    if not report then
        lines[#lines + 1] = "No report is loaded."
    else
        lines[#lines + 1] = "Report: " .. clean(report.path)
        lines[#lines + 1] = report.problem and "Not used: " .. clean(report.problem) or "Its evidence is marked: filter with acpcap"
    end
    show("acpcap", table.concat(lines, "\n") .. "\n")
end

if gui_enabled() then
    register_menu("acpcap/Analyze a capture\226\128\166", ask_for_capture, MENU_TOOLS_UNSORTED)
    register_menu("acpcap/Show a report\226\128\166", ask_for_report, MENU_TOOLS_UNSORTED)
    register_menu("acpcap/What is loaded", show_state, MENU_TOOLS_UNSORTED)
end
