//! Keeps pages of other sites away from a service that a browser can reach: by the name under which the service is
//! addressed (DNS rebinding) and by the site from which a browser sends a command (cross-site request forgery).
//!
//! DNS rebinding: a foreign page under `http://evil.example:7001` makes its own name resolve to 127.0.0.1 and then talks to
//! the service as its own origin. The browser sends `Host: evil.example:7001`, so a service that answers only to its own
//! names is safe. An IP address cannot be rebound: a page under `http://192.0.2.7` is served by 192.0.2.7. So every IP
//! address is accepted, and probes and scrapers that address a pod by its IP need no configuration.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::bail;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Version, header};

use crate::http::problem::Problem;
use crate::settings::Settings;

/// The host names to which a process answers, beside IP addresses, `localhost` and `*.localhost`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts(Arc<[HostPattern]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    /// `*`: a proxy in front of this process checks the name.
    Any,
    /// `order.shop.svc`
    Name(String),
    /// `*.shop.example`, kept as `.shop.example`
    Below(String),
}

impl AllowedHosts {
    /// Reads `ALLOWED_HOSTS`: names separated by commas, such as `order,order.shop.svc,*.shop.example`; `*` is any name.
    ///
    /// # Errors
    /// An entry is no host name: it has a scheme, a port or a path.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let entries = settings.or("ALLOWED_HOSTS", String::new())?;
        let entries = entries
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        Ok(Self(
            entries.map(HostPattern::new).collect::<anyhow::Result<_>>()?,
        ))
    }

    /// Refuses a request to a foreign name, and a command that a browser sends for a page of another site.
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        self.check_host(request)?;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !reads && is_cross_site(request.headers()) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "a page of another site must not send commands (see Sec-Fetch-Site and Origin)",
            ));
        }
        Ok(())
    }

    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let authority = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => return Err(Problem::bad_request("Host: only one can be given")),
            // Health checks of some load balancers speak HTTP/1.0; browsers never do.
            (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
            (None, _) => return Err(Problem::bad_request("Host: is missing")),
        };
        // `GET http://order:7001/ HTTP/1.1` names the host twice (RFC 9112, 3.2.2).
        let target = request.uri().authority().map(|authority| authority.as_str());
        match [Some(authority), target]
            .into_iter()
            .flatten()
            .find(|host| !self.allows(host))
        {
            None => Ok(()),
            Some(foreign) => {
                let name = host_of(foreign);
                let detail = format!(
                    "this service does not answer to the name `{name}`, only to IP addresses, localhost and the names in \
                     ALLOWED_HOSTS"
                );
                Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
            }
        }
    }

    fn allows(&self, authority: &str) -> bool {
        let host = host_of(authority);
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']').unwrap_or_default();
            return address.parse::<Ipv6Addr>().is_ok();
        }
        if host.parse::<Ipv4Addr>().is_ok() {
            return true;
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        name.eq_ignore_ascii_case("localhost")
            || ends_with(name, ".localhost")
            || self.0.iter().any(|pattern| pattern.matches(name))
    }
}

impl HostPattern {
    fn new(entry: &str) -> anyhow::Result<Self> {
        let (pattern, name) = match entry.strip_prefix("*.") {
            _ if entry == "*" => return Ok(Self::Any),
            Some(name) => (Self::Below(format!(".{name}")), name),
            None => (Self::Name(entry.to_owned()), entry),
        };
        let is_name_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || !name.chars().all(is_name_character) {
            bail!(
                "ALLOWED_HOSTS: `{entry}` is no host name; write `order.example`, without scheme and port, or `*.example`, \
                 or `*`"
            );
        }
        Ok(pattern)
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own.eq_ignore_ascii_case(name),
            Self::Below(suffix) => ends_with(name, suffix),
        }
    }
}

/// Whether `name` is `suffix` with something before it, in any case.
fn ends_with(name: &str, suffix: &str) -> bool {
    name.len() > suffix.len()
        && name
            .get(name.len() - suffix.len()..)
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// The host in `host:port`; an IPv6 address keeps its brackets.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => authority,
    }
}

/// Whether a browser sends this for the page of another site (the rules of Go's `net/http.CrossOriginProtection`).
/// Programs that are no browsers send neither header.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    const SEC_FETCH_SITE: header::HeaderName = header::HeaderName::from_static("sec-fetch-site");
    if let Some(site) = text(SEC_FETCH_SITE) {
        return !matches!(site, "same-origin" | "none");
    }
    match text(header::ORIGIN) {
        None => false,
        Some(origin) => origin.split_once("://").map(|(_, authority)| authority) != text(header::HOST),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn allowed(hosts: &str) -> AllowedHosts {
        AllowedHosts::new(&Settings::of([("ALLOWED_HOSTS", hosts)])).unwrap()
    }

    fn status(hosts: &AllowedHosts, method: &str, headers: &[(&'static str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/orders/confirm");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let checked = hosts.check(&request.body(Body::empty()).unwrap());
        checked.map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn a_service_answers_to_addresses_localhost_and_configured_names() {
        let hosts = allowed("order, Order.shop.svc,*.shop.example");
        for host in [
            "127.0.0.1:7001",
            "10.1.2.3",
            "[::1]:7001",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:7001",
            "localhost.",
            "shop.localhost:7001",
            "order:7001",
            "order.shop.svc",
            "ORDER.SHOP.SVC.",
            "eu.shop.example:80",
        ] {
            assert_eq!(status(&hosts, "GET", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7001",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "shop.example",
            "evilshop.example",
            "order.evil.example",
            "[::1].evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "",
            ":7001",
        ] {
            assert_eq!(status(&hosts, "GET", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status(&hosts, "GET", &[]), 400);
        let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        assert_eq!(status(&hosts, "GET", &two), 400);
        assert_eq!(status(&allowed("*"), "GET", &[("host", "evil.example")]), 200);
        let old = Request::builder().version(Version::HTTP_10).uri("/healthz");
        assert!(hosts.check(&old.body(Body::empty()).unwrap()).is_ok());
        let absolute = Request::get("http://evil.example/").header("host", "127.0.0.1");
        assert!(hosts.check(&absolute.body(Body::empty()).unwrap()).is_err());
    }

    #[test]
    fn an_entry_that_is_no_host_name_is_named() {
        for entry in ["http://order", "order:7001", "order/", "*order", "*."] {
            let error = AllowedHosts::new(&Settings::of([("ALLOWED_HOSTS", entry)])).unwrap_err();
            assert!(error.to_string().contains(&format!("`{entry}`")), "{error}");
        }
    }

    #[test]
    fn a_page_of_another_site_sends_no_commands() {
        let hosts = AllowedHosts::default();
        let host = ("host", "127.0.0.1:7001");
        for foreign in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://elsewhere"),
            ("origin", "http://127.0.0.1:7002"),
            ("origin", "null"),
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
                assert_eq!(
                    status(&hosts, method, &[host, foreign]),
                    403,
                    "{method} {foreign:?}"
                );
            }
            assert_eq!(status(&hosts, "GET", &[host, foreign]), 200, "{foreign:?}");
        }
        for own in [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("origin", "http://127.0.0.1:7001"),
            ("user-agent", "curl"),
        ] {
            assert_eq!(status(&hosts, "POST", &[host, own]), 200, "{own:?}");
        }
        // A proxy that speaks TLS may replace the host name; the browser knows the site.
        let proxied = [
            host,
            ("origin", "https://shop.example"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(status(&hosts, "POST", &proxied), 200);
    }
}
