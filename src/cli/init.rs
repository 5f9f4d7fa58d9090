//! `mockd init`: a commented config file, made from the settings so that it says what is true. It overwrites nothing.

use std::io::Write;

use super::context::{CONFIG_FILE, Context};
use crate::base::error::{Error, Result};
use crate::model::config::VERSION;
use crate::model::settings::SETTINGS;

/// `init`
pub fn init(context: &mut Context<'_>) -> Result<()> {
    let path = context.path(CONFIG_FILE);
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Failed(format!("{} exists already: edit it, or remove it first", path.display())),
        _ => Error::file(&path, "", format!("this file cannot be written: {error}")),
    };
    let mut file = std::fs::File::create_new(&path).map_err(failed)?;
    file.write_all(sample().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    context.out.line(&format!("Wrote {CONFIG_FILE}; `mockd serve` reads it from this directory"))
}

/// The file's text: every setting as a comment, with its default.
fn sample() -> String {
    let mut out = format!(
        "# {CONFIG_FILE}: read from the working directory by `mockd serve` and every other command.\n\
         # Each line that begins with `#` and a name shows a default; remove the `#` to change it.\n\
         # Flags win over environment variables, these over `--config` files, these over this file.\n\n\
         version: \"{VERSION}\"\n"
    );
    for section in ["server", "recording"] {
        out.push_str(&format!("\n{section}:\n"));
        for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
            let flag = setting.flag.map_or_else(String::new, |flag| format!("--{flag}, "));
            let value = setting.default_value();
            let value = if value.is_null() { String::new() } else { format!(" {value}") };
            out.push_str(&format!("  # {} ({flag}{}).\n  #{}:{value}\n", setting.help, setting.env, setting.field()));
        }
    }
    out.push_str(
        "\n# Upstreams by path: the most specific path wins. The URL's own path is put before the request's.\n\
         # upstreams:\n\
         #   - path: /ws/*\n\
         #     url: ws://localhost:8080\n\
         #     origin: http://localhost:8080\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::config::read_into;
    use crate::model::settings::Settings;

    fn read(text: &str) -> Settings {
        let mut settings = Settings::default();
        read_into(&mut settings, Path::new("mockd.yaml"), text).unwrap();
        settings
    }

    #[test]
    fn the_sample_loads_and_shows_the_defaults() {
        let text = sample();
        assert_eq!(read(&text), Settings::default());
        let mut shown = 0;
        let uncommented: Vec<String> = text
            .lines()
            .map(|line| match line.strip_prefix("  #") {
                Some(rest) if !rest.starts_with(' ') => {
                    shown += 1;
                    format!("  {rest}")
                }
                _ => line.to_owned(),
            })
            .collect();
        assert_eq!(shown, SETTINGS.len());
        assert_eq!(read(&uncommented.join("\n")), Settings::default());
    }
}
