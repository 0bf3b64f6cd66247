-- What Wireshark lacks for Cisco AnyConnect: dissectors for what the tunnel carries, an acpcap report as fields, a menu.
--
-- For Wireshark and tshark 4.0 and later, on Lua 5.1 to 5.4. Decryption is Wireshark's: give it keys (tls.keylog_file).
-- A capture is hostile: lengths are checked before they are believed, and every table has a bound.

local VERSION = "0"
local PROGRAM = "acpcap"

if set_plugin_info then
    set_plugin_info({ version = VERSION, author = "acpcap", description = "Cisco AnyConnect tunnels, acpcap reports" })
end

local has_cstp, cstp = pcall(Proto, "cstp", "Cisco AnyConnect Tunnel")
local has_acpcap, acpcap = pcall(Proto, "acpcap", "acpcap report")
if not (has_cstp and has_acpcap) then
    -- Loaded twice, from a plugin folder and with -X lua_script: the first one does the work.
    return
end

-- Packets found in the tunnels of the frame being dissected; `inner` hands them on when the frame is done.
local waiting = { frame = 0 }
