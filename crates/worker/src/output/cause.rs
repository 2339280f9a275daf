//! Known reasons of a failure, by what agents and their providers print.

/// Why an agent failed, as far as its words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The account has nothing left, or has reached a limit of its plan.
    UsageLimit,
    /// The provider does not accept the key.
    KeyRefused,
    /// There is no such model, or not for this account.
    ModelUnknown,
}

/// Each cause with its signs, in lower case.
const SIGNS: [(Cause, &[&str]); 3] = [
    (
        Cause::UsageLimit,
        &[
            "usage limit",
            "usage cap",
            "hit your limit",
            "session limit",
            "weekly limit",
            "monthly limit",
            "spending limit",
            "spend limit",
            "credit balance",
            "out of credits",
            "insufficient credits",
            "insufficient_quota",
            "insufficient balance",
            "exceeded your current quota",
            "quota exceeded",
            "billing_hard_limit",
            "payment required",
        ],
    ),
    (
        Cause::KeyRefused,
        &[
            "invalid api key",
            "invalid x-api-key",
            "invalid_api_key",
            "incorrect api key",
            "api key not valid",
            "api key is invalid",
            "invalid bearer token",
            "authentication_error",
            "authentication failed",
            "unauthorized",
            "oauth token has expired",
            "token has been revoked",
            "please run /login",
        ],
    ),
    (
        Cause::ModelUnknown,
        &[
            "model not found",
            "model_not_found",
            "modelnotfound",
            "unknown model",
            "no such model",
            "invalid model",
            "model does not exist",
            "not a valid model",
            "issue with the selected model",
        ],
    ),
];

impl Cause {
    /// The cause that these words name.
    pub fn of(words: &str) -> Option<Self> {
        let words = words.to_lowercase();
        let named = SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| words.contains(sign)));
        // "The model `x` does not exist or you do not have access to it."
        let model = || words.contains("model") && words.contains("does not exist");
        named.map(|(cause, _)| *cause).or_else(|| model().then_some(Self::ModelUnknown))
    }

    /// The word for programs (main-spec §6).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UsageLimit => "usage_limit",
            Self::KeyRefused => "key_refused",
            Self::ModelUnknown => "model_unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_providers_print_has_a_cause() {
        for (words, cause) in [
            ("Monthly usage limit reached", Some(Cause::UsageLimit)),
            ("Your credit balance is too low to access the Anthropic API", Some(Cause::UsageLimit)),
            ("invalid x-api-key", Some(Cause::KeyRefused)),
            ("The model `gpt-9` does not exist or you do not have access to it.", Some(Cause::ModelUnknown)),
            ("ProviderModelNotFoundError", Some(Cause::ModelUnknown)),
            ("Overloaded", None),
            ("Rate limited, try again in 5 s", None),
        ] {
            assert_eq!(Cause::of(words), cause, "{words}");
        }
    }
}
