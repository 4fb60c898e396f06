//! I8: what only members may know stands in no log, no argument list, no environment, and no answer to a stranger.

/// # Panics
/// One of the secrets stands in the text; says where and which one, by its first characters.
pub(crate) fn not_in(place: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(secret.len() >= 8, "a secret that short is found everywhere");
        let shown: String = secret.chars().take(12).collect();
        assert!(!text.contains(secret.as_str()), "I8: `{shown}...` stands in {place}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_it_is_for() {
        let secrets = ["SWMTKN-1-canary".to_owned()];
        not_in("a log", "joined with «redacted»", &secrets);
        assert!(std::panic::catch_unwind(|| not_in("a log", "joined with SWMTKN-1-canary", &secrets)).is_err());
    }
}
