//! Reads the settings: the file, the environment, and what the overlay's configuration points to. The only place of
//! the program that reads environment variables.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::keys::{self, CONFIG_VARIABLE, KEYS, Key};
use super::layer::{self, Flags, Merged, Origin};
use super::{ConfigError, Problem, Settings, check, yaml};

/// Read if it exists and nobody names another file.
pub const DEFAULT_FILE: &str = "/etc/clusterctl/config.yaml";

/// No settings file and no overlay configuration is larger.
const MAX_FILE: u64 = 64 * 1024;

/// The environment variables of this process, or of a test.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. Names and values that are not UTF-8 are left out: none of ours can be.
    #[must_use]
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os();
        Self(pairs.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect())
    }

    /// The variable's value, if it is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Settings with where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    pub effective: Vec<Effective>,
    /// Allowed, and yet hardly meant.
    pub doubts: Vec<String>,
}

/// One setting as it holds, for `config show`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    pub key: &'static str,
    /// `None` where it is unset; a secret's says that it is redacted.
    pub value: Option<String>,
    pub origin: String,
    pub variable: String,
    pub flag: Option<&'static str>,
}

/// Reads file and environment, puts the flags on top, and checks.
///
/// # Errors
/// All problems of all layers. Nothing was changed.
pub fn load(config: Option<&Path>, environment: &Environment, flags: Flags) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut doubts = Vec::new();
    let file = read_settings_file(config, environment, &mut problems, &mut doubts);
    let (variables, wrong) = layer::from_environment(environment.0.clone());
    problems.extend(wrong);
    let mut merged = layer::merge([file, variables, flags.into_layer()]);
    resolve_overlay_config(&mut merged, environment, &mut problems);
    let checked = match check::check(&merged) {
        Ok(settings) if problems.is_empty() => Ok(settings),
        Ok(_) => Err(ConfigError { problems }),
        Err(error) => {
            problems.extend(error.problems);
            Err(ConfigError { problems })
        }
    };
    let settings = checked?;
    doubts.extend(check::doubts(&settings));
    Ok(Loaded { settings, effective: effective(&merged), doubts })
}

fn effective(merged: &Merged) -> Vec<Effective> {
    let show = |key: &'static Key| {
        let entry = merged.get(key);
        let value = entry.map(|entry| if key.secret { "«redacted»".to_owned() } else { entry.text.clone() });
        let origin = entry.map_or_else(|| Origin::Default.to_string(), |entry| entry.origin.to_string());
        Effective { key: key.name, value, origin, variable: key.variable(), flag: key.flag }
    };
    KEYS.iter().map(show).collect()
}

fn read_settings_file(
    config: Option<&Path>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
    doubts: &mut Vec<String>,
) -> layer::Layer {
    let named = config.map(Path::to_owned).or_else(|| environment.get(CONFIG_VARIABLE).map(PathBuf::from));
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
        None => return layer::Layer::new(),
    };
    let shown = path.display().to_string();
    let complain = |message: String, hint: &str| Problem {
        origin: Origin::File { path: shown.clone(), line: None },
        key: None,
        message,
        hint: Some(hint.to_owned()),
    };
    match read_bounded(&path) {
        Ok(text) => {
            let (file, wrong) = yaml::from_yaml(&shown, &text);
            problems.extend(wrong);
            let holds_secret = KEYS.iter().any(|key| key.secret && file.contains_key(key.name));
            if holds_secret && readable_by_others(&path) {
                doubts.push(format!("{shown} holds a secret and others can read it: `chmod 600 {shown}`"));
            }
            file
        }
        Err(message) => {
            problems.push(complain(message, "named by `--config` or `CLUSTERCTL_CONFIG`"));
            layer::Layer::new()
        }
    }
}

/// A path to an existing file, `env:NAME`, or the value itself.
fn resolve_overlay_config(merged: &mut Merged, environment: &Environment, problems: &mut Vec<Problem>) {
    let Some(key) = keys::find("overlay.config") else { return };
    let Some(entry) = merged.get(key) else { return };
    let (text, origin) = (entry.text.as_str(), entry.origin.clone());
    let path = Path::new(text);
    let resolved = if let Some(name) = text.strip_prefix("env:") {
        let missing = || format!("the variable `{name}` is not set or empty");
        environment.get(name).map(str::to_owned).ok_or_else(missing)
    } else if path.is_file() {
        // The path is no secret; what is in the file is.
        read_bounded(path).map(|text| text.trim_end().to_owned()).map_err(|message| format!("{text}: {message}"))
    } else if text.starts_with('/') || text.starts_with("./") {
        // Sent on as the value itself it would fail on every node, with a message that helps nobody.
        Err(format!("{text}: no such file"))
    } else {
        return;
    };
    match resolved {
        Ok(value) if value.is_empty() => {
            problems.push(Problem::with_key(key, origin, "is empty"));
        }
        Ok(value) => merged.replace_text(key, value),
        Err(message) => problems.push(Problem::with_key(key, origin, message)),
    }
}

fn readable_by_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn overlay(value: &str, environment: &Environment) -> Result<Loaded, ConfigError> {
        let mut flags = Flags::default();
        flags.set("overlay.provider", "--overlay-provider", Some("netbird"));
        flags.set("overlay.config", "--overlay-config", Some(value));
        load(Some(Path::new("/dev/null")), environment, flags)
    }

    /// S2-14, S2-36: the file's values arrive and are overridden from the environment; problems of all layers at once.
    #[test]
    fn reads_file_and_environment() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(&directory, "c.yaml", "gluster:\n  volume: a\n  mount: /mnt/a\n");
        let environment = Environment::from([("CLUSTERCTL_GLUSTER_VOLUME", "b")]);
        let loaded = load(Some(&path), &environment, Flags::default()).unwrap();
        assert_eq!(loaded.settings.gluster.volume.as_str(), "b");
        assert_eq!(loaded.settings.gluster.mount.as_str(), "/mnt/a");
        let mount = loaded.effective.iter().find(|effective| effective.key == "gluster.mount").unwrap();
        assert_eq!(mount.origin, format!("{}:3", path.display()));

        let text = path.to_str().unwrap();
        let environment = Environment::from([(CONFIG_VARIABLE, text), ("CLUSTERCTL_NODE_IP", "x")]);
        let path = write(&directory, "c.yaml", "glustr: {}\nmaster:\n  listen: x\n");
        let error = load(None, &environment, Flags::default()).unwrap_err();
        assert_eq!(error.problems.len(), 3, "{error}");
        assert!(error.to_string().contains(&format!("{}:3: `master.listen`", path.display())), "{error}");
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error = load(Some(Path::new("/no/such.yaml")), &Environment::default(), Flags::default()).unwrap_err();
        assert!(error.to_string().contains("/no/such.yaml: cannot be read"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let large = write(&directory, "large.yaml", &"#".repeat(65 * 1024));
        let error = load(Some(&large), &Environment::default(), Flags::default()).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }

    /// S2-38: a path to an existing file, `env:NAME`, or the literal value; never shown.
    #[test]
    fn overlay_configuration_is_resolved_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(&directory, "overlay.json", "{\"key\":\"canary-1\"}\n");
        let environment = Environment::from([("SETUP", "canary-1")]);
        for (value, revealed) in
            [(path.to_str().unwrap(), "{\"key\":\"canary-1\"}"), ("env:SETUP", "canary-1"), ("canary-1", "canary-1")]
        {
            let loaded = overlay(value, &environment).unwrap();
            assert_eq!(loaded.settings.overlay.config.as_ref().unwrap().reveal(), revealed);
            assert!(!format!("{loaded:?}").contains("canary"), "{value}");
        }
        for value in ["env:NOT_THERE", "/no/such/file", "./no-such-file"] {
            assert!(overlay(value, &environment).unwrap_err().to_string().contains("--overlay-config"), "{value}");
        }
    }

    #[test]
    fn a_readable_file_with_a_secret_is_said() {
        let directory = tempfile::tempdir().unwrap();
        for secret in ["overlay:\n  provider: netbird\n  config: hush\n", "node:\n  token: hush\n"] {
            let path = write(&directory, "c.yaml", secret);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let loaded = load(Some(&path), &Environment::default(), Flags::default()).unwrap();
            assert!(loaded.doubts.iter().any(|doubt| doubt.contains("chmod 600")), "{:?}", loaded.doubts);
            assert!(!format!("{loaded:?}").contains("hush"));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let loaded = load(Some(&path), &Environment::default(), Flags::default()).unwrap();
            assert_eq!(loaded.doubts, [] as [String; 0]);
        }
    }

    /// The files that users start from are right, and the long one names every key with its default.
    #[test]
    fn example_files_load() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let mut seen = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                load(Some(&path), &Environment::default(), Flags::default()).unwrap_or_else(|error| panic!("{error}"));
                seen += 1;
            }
        }
        assert!(seen >= 3, "{seen} examples in {}", directory.display());
        let reference = directory.join("clusterctl.example.yaml");
        let loaded = load(Some(&reference), &Environment::default(), Flags::default()).unwrap();
        let defaults = load(Some(Path::new("/dev/null")), &Environment::default(), Flags::default()).unwrap();
        assert_eq!(loaded.settings, defaults.settings);
        let text = std::fs::read_to_string(&reference).unwrap();
        for key in KEYS {
            let last = key.name.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("{last}:")), "{} is not in the reference", key.name);
            assert!(text.contains(&key.variable()), "{} is not in the reference", key.variable());
        }
    }
}
