//! The format of a token in the `Authorization` header.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::Error;

/// Builds the header. Macaroons (`fm1r_…`, `fm2_…`, or several joined by commas) use the scheme `FlyV1`, all
/// other tokens `Bearer` (superfly/fly-go, `tokens.go`). `fly tokens create` prints the scheme before the
/// token, so a scheme that was copied with it is removed.
pub(super) fn authorization(token: &SecretString) -> Result<HeaderValue, Error> {
    let token = without_scheme(token.expose_secret().trim());
    if token.is_empty() {
        return Err(Error::InvalidToken);
    }
    let macaroon = token.starts_with("fm1r_") || token.starts_with("fm2_");
    let scheme = if macaroon { "FlyV1" } else { "Bearer" };
    let mut value = HeaderValue::from_str(&format!("{scheme} {token}")).map_err(|_| Error::InvalidToken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn without_scheme(token: &str) -> &str {
    match token.split_once(' ') {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("FlyV1") || scheme.eq_ignore_ascii_case("Bearer") =>
        {
            rest.trim_start()
        }
        _ => token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(token: &str) -> String {
        let value = authorization(&SecretString::from(token)).expect("a token");
        value.to_str().expect("text").to_owned()
    }

    #[test]
    fn macaroons_use_the_scheme_flyv1() {
        assert_eq!(header("fm2_abc"), "FlyV1 fm2_abc");
        assert_eq!(header("fm1r_abc"), "FlyV1 fm1r_abc");
        assert_eq!(header("fm1r_abc,fm2_def"), "FlyV1 fm1r_abc,fm2_def");
    }

    #[test]
    fn other_tokens_use_the_scheme_bearer() {
        assert_eq!(header("fo1_abc"), "Bearer fo1_abc");
        assert_eq!(header("xfm2_abc"), "Bearer xfm2_abc");
    }

    #[test]
    fn a_scheme_copied_with_the_token_is_not_sent_twice() {
        assert_eq!(header("FlyV1 fm2_abc"), "FlyV1 fm2_abc");
        assert_eq!(header(" Bearer fo1_abc\n"), "Bearer fo1_abc");
    }

    #[test]
    fn text_that_cannot_be_a_token_is_rejected() {
        for text in ["", "  ", "a\nb"] {
            let answer = authorization(&SecretString::from(text));
            assert!(matches!(answer, Err(Error::InvalidToken)), "{text:?} returned {answer:?}");
        }
    }

    #[test]
    fn debug_output_of_the_header_hides_the_token() {
        let value = authorization(&SecretString::from("fm2_abc")).expect("a token");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
