//! Checks that the worker image is in its registry, with a HEAD request for its manifest (OCI distribution
//! specification, "Pulling manifests").

use std::time::Duration;

use secrecy::ExposeSecret;

use super::Finding;
use crate::config::Config;

/// Fly's registry accepts a Fly token as password with any user name (fly.io documentation, "Using the Fly
/// Docker registry").
const FLY_REGISTRY: &str = "registry.fly.io";
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The parts of `registry/name:tag` or `registry/name@digest`.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    registry: &'a str,
    name: &'a str,
    version: &'a str,
}

impl<'a> Reference<'a> {
    /// `None` for an image without a registry, because the default registry depends on the program that pulls
    /// it.
    fn parse(image: &'a str) -> Option<Self> {
        let (registry, rest) = image.split_once('/')?;
        if !registry.contains(['.', ':']) && registry != "localhost" {
            return None;
        }
        let (name, version) = match rest.split_once('@') {
            Some((name, digest)) => (name, digest),
            None => rest.rsplit_once(':').unwrap_or((rest, "latest")),
        };
        Some(Self { registry, name, version })
    }
}

pub(super) async fn check(config: &Config) -> Finding {
    let image = &config.machine.image;
    let Some(reference) = Reference::parse(image) else {
        return Finding::wrong(
            format!("{image} names no registry"),
            "set PORTER_WORKER_IMAGE to registry/name:tag, as worker-image/README.md shows",
        );
    };
    match request_manifest(config, &reference).await {
        Ok(200..=299) => Finding::ok(format!("{image} is in its registry")),
        Ok(401 | 403) if config.fly.shared_token.is_none() => {
            Finding::ok(format!("{image} is private and cannot be checked without PORTER_SHARED_FLY_TOKEN"))
        }
        Ok(status) => Finding::wrong(
            format!("{image} cannot be pulled (the registry responds with {status})"),
            "build and push it as worker-image/README.md shows, or set PORTER_WORKER_IMAGE",
        ),
        Err(error) => Finding::wrong(
            format!("the registry of {image} does not respond: {}", error.without_url()),
            "check PORTER_WORKER_IMAGE and the network",
        ),
    }
}

async fn request_manifest(config: &Config, reference: &Reference<'_>) -> Result<u16, reqwest::Error> {
    let Reference { registry, name, version } = reference;
    let host = registry.split(':').next().unwrap_or_default();
    let scheme = if matches!(host, "localhost" | "127.0.0.1") { "http" } else { "https" };
    let http = tls::client().timeout(Duration::from_secs(20)).build()?;
    let mut request =
        http.head(format!("{scheme}://{registry}/v2/{name}/manifests/{version}")).header("accept", MANIFESTS);
    if let (true, Some(token)) = (*registry == FLY_REGISTRY, &config.fly.shared_token) {
        request = request.basic_auth("x", Some(token.expose_secret()));
    }
    Ok(request.send().await?.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_parsed_into_registry_name_and_version() {
        let parse = |image| Reference::parse(image).map(|r| (r.registry, r.name, r.version));
        assert_eq!(
            parse("registry.fly.io/porter-worker:latest"),
            Some(("registry.fly.io", "porter-worker", "latest"))
        );
        assert_eq!(parse("localhost:5000/team/worker"), Some(("localhost:5000", "team/worker", "latest")));
        assert_eq!(parse("ghcr.io/a/b@sha256:12"), Some(("ghcr.io", "a/b", "sha256:12")));
        assert_eq!(parse("porter-worker:latest"), None);
        assert_eq!(parse("team/worker"), None);
    }
}
