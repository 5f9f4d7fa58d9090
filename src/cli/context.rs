//! What was built from what was typed: settings out of defaults, files, environment and flags; the store and the client made from them.
//! It reads config files, and no recording.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::client::Client;
use super::color::Paint;
use super::command::Scope;
use super::output::Output;
use super::parser::Typed;
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::model::config;
use crate::model::recording::Redaction;
use crate::model::settings::{SETTINGS, Settings, by_flag};
use crate::rules::redact::Redactor;
use crate::store::Store;

/// The file that is always read first, from the working directory.
pub const CONFIG_FILE: &str = "mockd.yaml";

/// What a process stands in: its variables and its working directory.
#[derive(Debug, Default, Clone)]
pub struct Surroundings {
    /// The environment; what is not UTF-8 is left out.
    pub variables: BTreeMap<String, String>,
    /// The directory that relative paths begin at; empty for the process's own.
    pub directory: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: variables.collect(), directory: PathBuf::new() }
    }

    /// A variable; an empty one counts as not set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// What a command runs with.
pub struct Context<'a> {
    /// What was typed.
    pub typed: &'a Typed,
    /// What the process stands in.
    pub surroundings: &'a Surroundings,
    /// Where it prints.
    pub out: Output<'a>,
    /// The exit code, where the command does what it was asked to: 0, or that of a command that it ran.
    pub exit_code: u8,
}

impl Context<'_> {
    /// The settings in force: defaults, `mockd.yaml`, `--config` files, environment, flags.
    ///
    /// # Errors
    /// [`Error::File`] for a file, [`Error::Usage`] for a variable or a flag.
    pub fn settings(&self) -> Result<Settings> {
        settings(self.typed, self.surroundings, None)
    }

    /// What gives the settings that are in force at each later time that it is asked, by the same files, variables and flags.
    pub fn rereading(&self) -> impl Fn() -> Result<Settings> + Send + 'static {
        let (typed, surroundings) = (self.typed.clone(), self.surroundings.clone());
        move || settings(&typed, &surroundings, None)
    }

    /// The settings that would be in force with one more `--config` file.
    ///
    /// # Errors
    /// As [`Context::settings`].
    pub fn settings_with(&self, file: &Path) -> Result<Settings> {
        settings(self.typed, self.surroundings, Some(file))
    }

    /// `path` with a leading `~` made the home directory.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn expand(&self, path: PathBuf) -> Result<PathBuf> {
        expand(path, home(self.surroundings).as_deref())
    }

    /// The store of the data directory. What a crash left there is turned into recordings first.
    ///
    /// # Errors
    /// Those of [`Context::settings`], and where there is no directory to be named.
    pub fn store(&self) -> Result<Store> {
        let settings = self.settings()?;
        let directory = settings.data_dir.ok_or_else(|| {
            let words = "there is no place for recordings, since HOME is not set: name one with --data-dir or MOCKD_DATA_DIR";
            Error::Failed(words.to_owned())
        })?;
        let store = Store::new(directory, settings.max_bytes, settings.warn_percent);
        // A directory that can only be read is good enough for most commands.
        if let Err(error) = store.recover() {
            tell(&format!("recordings that a crash left stay as they are: {error}"));
        }
        Ok(store)
    }

    /// The client of a server's admin port.
    ///
    /// # Errors
    /// Those of [`Context::settings`], and a URL that is none.
    pub fn client(&self) -> Result<Client> {
        let settings = self.settings()?;
        let url = self.typed.text("admin-url").or_else(|| self.surroundings.variable("MOCKD_ADMIN_URL"));
        let url = url.map_or_else(|| admin_url(&settings), str::to_owned);
        Client::new(&url, settings.admin_token)
    }

    /// A path as it was typed, from the working directory on.
    pub fn path(&self, typed: &str) -> PathBuf {
        self.surroundings.directory.join(typed)
    }
}

/// Says something on stderr that is no answer: a warning, a note.
pub fn tell(message: &str) {
    say("mockd:", message);
}

/// Says on stderr why a command failed.
pub fn tell_error(error: &Error) {
    say(&Paint::for_stderr().red("mockd:"), &error.to_string());
}

fn say(who: &str, message: &str) {
    let line = format!("{who} {}\n", crate::base::text::clean(message));
    // Where stderr takes nothing, nobody reads it.
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// Where the settings say that the admin port is.
fn admin_url(settings: &Settings) -> String {
    // A server on a free port has told its port to the one who started it, and to nobody else.
    let port = if settings.admin_port == 0 { limits::ADMIN_PORT } else { settings.admin_port };
    let host = match settings.admin_host.as_str() {
        "127.0.0.1" | "::1" | "[::1]" | "0.0.0.0" | "::" | "[::]" => "localhost",
        other => other,
    };
    if host.contains(':') && !host.starts_with('[') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
}

fn settings(typed: &Typed, surroundings: &Surroundings, more: Option<&Path>) -> Result<Settings> {
    let mut settings = Settings::default();
    let first = surroundings.directory.join(CONFIG_FILE);
    if let Some(text) = read_file(&first, true)? {
        add_file(&mut settings, &first, &text)?;
    }
    if typed.command.scope != Scope::Nothing {
        for file in typed.all("config") {
            add_config_file(&mut settings, &surroundings.directory.join(file))?;
        }
    }
    if let Some(more) = more {
        add_config_file(&mut settings, more)?;
    }
    for setting in SETTINGS {
        if let Some(value) = surroundings.variable(setting.env) {
            let before = settings.redaction();
            let result = setting.set_text(&mut settings, setting.env, value).and_then(|()| check_redaction(&before, &settings));
            result.map_err(|error| Error::Usage(name_place(setting.env, error)))?;
        }
    }
    for flag in typed.command.all_flags() {
        let Some((setting, value)) = by_flag(flag.name).zip(typed.text(flag.name)) else { continue };
        let place = format!("--{}", flag.name);
        setting.set_text(&mut settings, &place, value).map_err(|error| Error::Usage(error.to_string()))?;
    }
    let home = home(surroundings);
    settings.upstream_ca = settings.upstream_ca.map(|path| expand(path, home.as_deref())).transpose()?;
    settings.data_dir = match settings.data_dir {
        Some(path) => Some(expand(path, home.as_deref())?),
        None => default_data_dir(surroundings, home.as_deref(), std::env::consts::OS),
    };
    Ok(settings)
}

/// Adds a config file to the settings, which stay as they are where anything is wrong with it.
///
/// # Errors
/// [`Error::File`].
pub fn add_config_file(settings: &mut Settings, path: &Path) -> Result<()> {
    read_file(path, false)?.map_or(Ok(()), |text| add_file(settings, path, &text))
}

/// The text of a config file; `None` for one that is not there and need not be.
fn read_file(path: &Path, optional: bool) -> Result<Option<String>> {
    let wrong = |message: String| Error::file(path, "", message);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!("this config file cannot be read: {error}"))),
    };
    let mut bytes = Vec::new();
    let read = file.take(limits::MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(format!("this config file cannot be read: {error}")))?;
    if bytes.len() as u64 > limits::MAX_CONFIG_BYTES {
        return Err(wrong(format!("a config file has at most {} bytes", limits::MAX_CONFIG_BYTES)));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("this config file is not UTF-8".to_owned()))
}

fn add_file(settings: &mut Settings, path: &Path, text: &str) -> Result<()> {
    let before = settings.redaction();
    config::read_into(settings, path, text)?;
    check_redaction(&before, settings).map_err(|error| match error {
        Error::Invalid { place, message } => Error::file(path, place, message),
        other => other,
    })
}

/// Compiles the rules where they have changed, so that the one who gave them is named.
fn check_redaction(before: &Redaction, settings: &Settings) -> Result<()> {
    let now = settings.redaction();
    if *before == now { Ok(()) } else { Redactor::new(&now).map(drop) }
}

/// The words of an error with the variable in front of them, once.
fn name_place(variable: &str, error: Error) -> String {
    let words = error.to_string();
    if words.starts_with(variable) { words } else { format!("{variable}: {words}") }
}

fn home(surroundings: &Surroundings) -> Option<PathBuf> {
    let variable = if std::env::consts::OS == "windows" { "USERPROFILE" } else { "HOME" };
    surroundings.variable(variable).map(PathBuf::from)
}

/// `path` with a leading `~` made the home directory.
fn expand(path: PathBuf, home: Option<&Path>) -> Result<PathBuf> {
    match (path.strip_prefix("~"), home) {
        (Err(_), _) => Ok(path),
        (Ok(rest), Some(home)) => Ok(home.join(rest)),
        (Ok(_), None) => {
            Err(Error::Failed(format!("HOME is not set, so that the ~ of {} means nothing: write the path out", path.display())))
        }
    }
}

/// Where recordings are by default on the system `os`.
fn default_data_dir(surroundings: &Surroundings, home: Option<&Path>, os: &str) -> Option<PathBuf> {
    // A relative XDG_DATA_HOME is to be ignored, says its specification.
    let xdg = surroundings.variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = xdg.or_else(|| match os {
        "macos" => home.map(|home| home.join("Library/Application Support")),
        "windows" => surroundings.variable("LOCALAPPDATA").map(PathBuf::from),
        _ => home.map(|home| home.join(".local/share")),
    })?;
    Some(base.join("mockd").join("recordings"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parser::{Parsed, parse};

    fn load(args: &[&str], variables: &[(&str, &str)], directory: &Path) -> Result<Settings> {
        let Parsed::Run(typed) = parse(args.iter().map(Into::into))? else { panic!("no command") };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings(&typed, &Surroundings { variables, directory: directory.to_owned() }, None)
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_default() {
        let dir = tempfile::tempdir().unwrap();
        let port = |args: &[&str], variables: &[(&str, &str)]| load(args, variables, dir.path()).unwrap().port;
        assert_eq!(port(&["serve"], &[]), 4280);
        std::fs::write(dir.path().join("mockd.yaml"), "server: {port: 1}").unwrap();
        std::fs::write(dir.path().join("b.json"), r#"{"server":{"port":2}}"#).unwrap();
        std::fs::write(dir.path().join("c.yaml"), "server: {port: 3}").unwrap();
        assert_eq!(port(&["serve"], &[]), 1);
        assert_eq!(port(&["serve", "--config", "c.yaml", "--config=b.json"], &[]), 2);
        assert_eq!(port(&["serve", "--config", "b.json"], &[("MOCKD_PORT", "4")]), 4);
        assert_eq!(port(&["serve", "--config", "b.json", "--port", "5"], &[("MOCKD_PORT", "4")]), 5);
        assert_eq!(port(&["serve"], &[("MOCKD_PORT", "")]), 1);
    }

    #[test]
    fn lists_in_the_environment_are_comma_separated() {
        let dir = tempfile::tempdir().unwrap();
        let settings = load(&["sr", "stats"], &[("MOCKD_MAX_BYTES", "1GiB"), ("MOCKD_RECORD", "true")], dir.path()).unwrap();
        assert_eq!((settings.max_bytes, settings.record.as_deref()), (1 << 30, Some("/*")));
    }

    #[test]
    fn errors_name_the_variable_or_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = |args: &[&str], variables: &[(&str, &str)]| load(args, variables, dir.path()).unwrap_err();
        assert_eq!(
            error(&["serve"], &[("MOCKD_PORT", "tcp://10.0.0.1:80")]),
            Error::Usage("MOCKD_PORT: this must be a port from 0 to 65535, it is \"tcp://10.0.0.1:80\"".to_owned())
        );
        let missing = error(&["serve", "--config", "none.yaml"], &[]);
        assert!(matches!(&missing, Error::File { path, .. } if path.ends_with("none.yaml")), "{missing}");
        std::fs::write(dir.path().join("mockd.yaml"), b"\xff").unwrap();
        assert!(error(&["sr", "list"], &[]).to_string().ends_with("this config file is not UTF-8"));
    }

    #[test]
    fn the_data_directory_has_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let of = |args: &[&str], variables: &[(&str, &str)]| load(args, variables, dir.path()).unwrap().data_dir;
        let home = ("HOME", "/home/ann");
        let path = |text: &str| Some(PathBuf::from(text));
        if std::env::consts::OS == "linux" {
            assert_eq!(of(&["serve"], &[home]), path("/home/ann/.local/share/mockd/recordings"));
        }
        assert_eq!(of(&["serve"], &[home, ("XDG_DATA_HOME", "/data")]), path("/data/mockd/recordings"));
        assert_eq!(of(&["serve"], &[]), None);
        std::fs::write(dir.path().join("mockd.yaml"), "recording: {dataDir: ~/file}").unwrap();
        assert_eq!(of(&["serve"], &[home]), path("/home/ann/file"));
        assert_eq!(of(&["sr", "list"], &[home, ("MOCKD_DATA_DIR", "~")]), path("/home/ann"));
        assert_eq!(of(&["sr", "list", "--data-dir", "/flag"], &[("MOCKD_DATA_DIR", "/env")]), path("/flag"));
        load(&["serve"], &[], dir.path()).unwrap_err();
    }

    #[test]
    fn each_system_has_its_place() {
        let surroundings = Surroundings {
            variables: [("LOCALAPPDATA".to_owned(), "/local".to_owned()), ("XDG_DATA_HOME".to_owned(), "relative".to_owned())].into(),
            directory: PathBuf::new(),
        };
        for (os, place) in [
            ("linux", "/home/ann/.local/share/mockd/recordings"),
            ("macos", "/home/ann/Library/Application Support/mockd/recordings"),
            ("windows", "/local/mockd/recordings"),
        ] {
            assert_eq!(default_data_dir(&surroundings, Some(Path::new("/home/ann")), os), Some(PathBuf::from(place)));
        }
    }

    #[test]
    fn the_admin_url_follows_the_settings() {
        let of = |host: &str, port| admin_url(&Settings { admin_host: host.to_owned(), admin_port: port, ..Settings::default() });
        assert_eq!(of("127.0.0.1", 4290), "http://localhost:4290");
        assert_eq!(of("0.0.0.0", 5000), "http://localhost:5000");
        assert_eq!(of("fd00::1", 0), "http://[fd00::1]:4290");
        assert_eq!(of("box.lan", 80), "http://box.lan:80");
    }
}
