-- An acpcap report beside the capture, as fields of the frames that are its evidence.
--
-- Plugins are not told which file is open. So the report is looked for where it can be named, and it is believed only when the
-- first frame has the time the report gives for its capture's: a report of another capture marks nothing.

local SUFFIX = ".acpcap.json"
-- Marks in all, and of one frame.
local MAX_MARKS, MAX_MARKS_OF_FRAME = 500000, 32
-- Seconds two times may differ: Lua's numbers hold today's time to a quarter of a microsecond.
local SAME_TIME = 0.000002

local SHOWN_AS = { high = expert.severity.ERROR, medium = expert.severity.WARN, low = expert.severity.NOTE, info = expert.severity.CHAT }

local r = {
    session = ProtoField.string("acpcap.session", "Session"),
    detector = ProtoField.string("acpcap.detector", "Detector"),
    severity = ProtoField.string("acpcap.severity", "Severity"),
    note = ProtoField.string("acpcap.note", "Note"),
    problem = ProtoField.string("acpcap.problem", "Problem"),
}
acpcap.fields = { r.session, r.detector, r.severity, r.note, r.problem }
local found_as = {}
acpcap.experts = {}
for severity, level in pairs(SHOWN_AS) do
    found_as[severity] = ProtoExpert.new("acpcap.finding." .. severity, "Finding", expert.group.COMMENTS_GROUP, level)
end
acpcap.experts = { found_as.high, found_as.medium, found_as.low, found_as.info }
acpcap.prefs.report = Pref.string("Report", "", "A report to show, made with acpcap analyze --format json")
acpcap.prefs.program = Pref.string("acpcap program", PROGRAM, "What the Tools menu runs")

-- `path`, `captures`, `marks` by frame number of the chosen capture, `problem`; nil without a report.
local report
-- The path chosen in the Tools menu.
local chosen

local function name_of(path)
    return path:match("[^/\\]+$") or path
end

-- Days from 1970 to a date of the Gregorian calendar.
local function days_to(year, month, day)
    if month <= 2 then
        year, month = year - 1, month + 12
    end
    return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
        + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

-- Seconds since 1970 of an RFC 3339 time in UTC.
local function seconds_of(text)
    if type(text) ~= "string" then
        return nil
    end
    local y, mo, d, h, mi, s = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d%.?%d*)Z$")
    if not y then
        return nil
    end
    local days = days_to(tonumber(y), tonumber(mo), tonumber(d))
    return days * 86400 + tonumber(h) * 3600 + tonumber(mi) * 60 + tonumber(s)
end

-- The capture named on the command line, where the system tells (Linux); nil elsewhere.
local function capture_of_command_line()
    local file = io.open("/proc/self/cmdline", "rb")
    if not file then
        return nil
    end
    local text = file:read(65536) or ""
    file:close()
    local args = {}
    for arg in text:gmatch("[^%z]+") do
        args[#args + 1] = arg
    end
    for i = 2, #args do
        local arg = args[i]
        if arg == "--read-file" or arg:find("^%-%a*r$") then
            return args[i + 1]
        end
        local given = arg:match("^%-%-read%-file=(.+)") or arg:match("^%-r(.+)")
        if given then
            return given
        end
    end
    local last = args[#args]
    return gui_enabled() and #args > 1 and not last:find("^%-") and last or nil
end

-- Path of the report to read, and whether somebody asked for it by name.
local function report_path()
    for _, named in ipairs({ chosen or "", acpcap.prefs.report or "", os.getenv("ACPCAP_REPORT") or "" }) do
        if named ~= "" then
            return named, true
        end
    end
    local capture = capture_of_command_line()
    return capture and capture .. SUFFIX, false
end

local function list(value)
    return type(value) == "table" and value or {}
end

local function text_of(value)
    return type(value) == "string" and clean(value) or ""
end

-- Frame marks for each capture of the report, by its place (from 0).
local function marks_of(json)
    local by_capture, count = {}, 0
    for _, finding in ipairs(list(json.findings)) do
        finding = list(finding)
        local mark = { session = text_of(finding.session), detector = text_of(finding.detector), severity = text_of(finding.severity) }
        for _, evidence in ipairs(list(finding.evidence)) do
            evidence = list(evidence)
            local place = type(evidence.capture) == "number" and evidence.capture or -1
            local note = text_of(evidence.note)
            for _, frame in ipairs(list(evidence.frames)) do
                local marks = by_capture[place] or {}
                by_capture[place] = marks
                if type(frame) == "number" and count < MAX_MARKS then
                    local of_frame = marks[frame] or {}
                    marks[frame] = of_frame
                    if #of_frame < MAX_MARKS_OF_FRAME then
                        of_frame[#of_frame + 1] = { mark = mark, note = note }
                        count = count + 1
                    end
                end
            end
        end
    end
    return by_capture
end

-- Reads a report; an error, to be caught, when it is none.
local function read_report(path)
    local file = io.open(path, "rb") or error("cannot be opened", 0)
    local text = file:read(MAX_REPORT + 1)
    file:close()
    if not text or #text > MAX_REPORT then
        error(text and "larger than 64 MiB" or "is empty or cannot be read", 0)
    end
    local json = parse_json(text)
    if type(json) ~= "table" or type(json.schema_version) ~= "string" or type(json.captures) ~= "table" then
        error("not a report of acpcap analyze --format json", 0)
    elseif not json.schema_version:find("^1%.") then
        error("its schema has another version than 1", 0)
    end
    return { path = path, captures = json.captures, by_capture = marks_of(json) }
end

-- Looks for the report; called for each capture that is opened, before its first frame.
local function load_report()
    local path, is_named = report_path()
    report = nil
    if not path then
        return
    end
    if not is_named then
        local file = io.open(path, "rb")
        if not file then
            return
        end
        file:close()
    end
    local ok, result = pcall(read_report, path)
    report = ok and result or { path = path, problem = tostring(result) }
end

-- Finds the report's capture that begins like the open one, by the time of frame 1.
local function choose_capture(at)
    local same, named
    local wanted = name_of(report.path):sub(1, -#SUFFIX - 1)
    for i, capture in ipairs(report.captures) do
        capture = list(capture)
        local first, last = seconds_of(capture.first), seconds_of(capture.last)
        if first and math.abs(first - at) <= SAME_TIME then
            -- Two that begin together cannot be told apart by time.
            same = same and -1 or i - 1
        end
        local is_within = first and last and at >= first - SAME_TIME and at <= last + SAME_TIME
        if is_within and type(capture.path) == "string" and name_of(capture.path) == wanted then
            named = i - 1
        end
    end
    local place = named or same
    if not place or place < 0 then
        report.problem = "it is the report of another capture: none of its captures begins with this frame"
    else
        report.marks = report.by_capture[place] or {}
    end
    report.by_capture = nil
end

-- `is_same` when the mark before is of the same session: a column shows it once.
local function add_mark(entry, is_same, tree)
    local mark = entry.mark
    local item = tree:add(acpcap)
    item:set_text(string.format("acpcap: session %s: %s (%s)", mark.session, mark.detector, mark.severity))
    if not is_same then
        item:add(r.session, mark.session):set_generated()
    end
    item:add(r.detector, mark.detector):set_generated()
    item:add(r.severity, mark.severity):set_generated()
    item:add(r.note, entry.note):set_generated()
    local level = found_as[mark.severity]
    if level then
        item:add_proto_expert_info(level, mark.detector .. ": " .. entry.note)
    end
end

-- Adds what the report says of this frame.
local function mark_frame(pinfo, tree)
    if not report then
        return
    end
    if pinfo.number == 1 then
        if not report.problem and not report.marks then
            choose_capture(pinfo.abs_ts)
        end
        if report.problem then
            local item = tree:add(acpcap)
            local said = clean(report.path) .. ": " .. clean(report.problem)
            item:set_text("acpcap: " .. said)
            item:add(r.problem, said):set_generated()
        end
    end
    local session
    for _, entry in ipairs(report.marks and report.marks[pinfo.number] or {}) do
        add_mark(entry, entry.mark.session == session, tree)
        session = entry.mark.session
    end
end
