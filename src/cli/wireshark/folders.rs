//! Where Wireshark keeps a user's plugins and profiles: told, asked of tshark, or where the system usually has them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where tshark is when it is not on the path.
const TSHARKS: &[&str] =
    &["tshark", "/Applications/Wireshark.app/Contents/MacOS/tshark", "C:\\Program Files\\Wireshark\\tshark.exe"];

/// Places to write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folders {
    /// For Lua plugins.
    pub(super) plugins: PathBuf,
    /// The profile `acpcap`.
    pub(super) profile: PathBuf,
    /// Who says so.
    pub(super) told_by: &'static str,
}

impl Folders {
    fn new(plugins: PathBuf, configuration: &Path, told_by: &'static str) -> Folders {
        Folders { plugins, profile: configuration.join("profiles").join("acpcap"), told_by }
    }
}

/// The folders; `None` when the user has no home.
pub(super) fn find(told: Option<&Path>) -> Option<Folders> {
    if let Some(folder) = told {
        return Some(Folders::new(folder.join("plugins"), folder, "--folder"));
    }
    asked().or_else(|| usual(cfg!(windows), &|name| std::env::var_os(name).filter(|value| !value.is_empty())))
}

fn asked() -> Option<Folders> {
    TSHARKS.iter().find_map(|program| {
        let call = Command::new(program).args(["-G", "folders"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        told_by_tshark(&String::from_utf8(call.ok()?.stdout).ok()?)
    })
}

/// Reads what `tshark -G folders` prints: a name, a colon, blanks, a path.
fn told_by_tshark(text: &str) -> Option<Folders> {
    let path = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(PathBuf::from(line.trim())).filter(|path| path.is_absolute())
    };
    Some(Folders::new(path("Personal Lua Plugins")?, &path("Personal configuration")?, "tshark"))
}

/// Where Wireshark 4 looks by itself (User's Guide, appendix B).
fn usual(windows: bool, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Folders> {
    let told_by = "the system's usual places; tshark was not found";
    let told = variable("WIRESHARK_CONFIG_DIR").map(PathBuf::from);
    if windows {
        let configuration = told.or_else(|| Some(PathBuf::from(variable("APPDATA")?).join("Wireshark")))?;
        return Some(Folders::new(configuration.join("plugins"), &configuration, told_by));
    }
    let home = PathBuf::from(variable("HOME")?);
    let xdg = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let configuration = told.unwrap_or_else(|| xdg.join("wireshark"));
    Some(Folders::new(home.join(".local/lib/wireshark/plugins"), &configuration, told_by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual_with(windows: bool, variables: &[(&str, &str)]) -> Option<(String, String)> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| OsString::from(*v));
        let shown = |path: &Path| path.display().to_string().replace('\\', "/");
        usual(windows, &variable).map(|f| (shown(&f.plugins), shown(&f.profile)))
    }

    #[test]
    fn usual_places() {
        let plugins = "/home/a/.local/lib/wireshark/plugins".to_owned();
        let home = ("HOME", "/home/a");
        let cases = [
            (vec![home], "/home/a/.config/wireshark/profiles/acpcap"),
            (vec![home, ("XDG_CONFIG_HOME", "/x")], "/x/wireshark/profiles/acpcap"),
            (vec![home, ("WIRESHARK_CONFIG_DIR", "/w")], "/w/profiles/acpcap"),
        ];
        for (variables, profile) in cases {
            assert_eq!(usual_with(false, &variables), Some((plugins.clone(), profile.to_owned())), "{variables:?}");
        }
        let roaming = usual_with(true, &[("APPDATA", "C:/Users/a/Roaming")]).unwrap();
        assert_eq!(roaming.0, "C:/Users/a/Roaming/Wireshark/plugins");
        assert_eq!(roaming.1, "C:/Users/a/Roaming/Wireshark/profiles/acpcap");
        assert_eq!(usual_with(false, &[]), None);
        assert_eq!(usual_with(true, &[home]), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_tshark_says() {
        let text = "Temp:                \t/tmp\nPersonal configuration:\t/home/a/.config/wireshark\nPersonal Plugins:    \t/p/4.0\n\
                    Personal Lua Plugins:\t/home/a/my plugins\n";
        let told = told_by_tshark(text).unwrap();
        assert_eq!(told.plugins, Path::new("/home/a/my plugins"));
        assert_eq!(told.profile, Path::new("/home/a/.config/wireshark/profiles/acpcap"));
        assert_eq!(told_by_tshark("Personal configuration:\t/a\n"), None, "built without Lua");
        assert_eq!(told_by_tshark(&text.replace("/home/a/my", "relative")), None);
    }
}
