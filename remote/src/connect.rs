//! The connection to a server, and what is asked of it.

use crate::errors::Error;
use async_nats::{
    Client, Event,
    jetstream::{self, context::ContextBuilder},
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long one answer of the server is waited for. A write that has no answer by then is not known to be done, and not known not to be.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(3);
/// What may be on its way while there is no connection: it is sent when there is one again, so little.
const CLIENT_CAPACITY: usize = 256;
/// Longest pause before the next attempt to connect again. There is no last attempt: a lease that ends is what ends commands.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// What the server has refused last, which it tells nobody in an answer: something that a role may not do.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);
impl Trouble {
    fn note(&self, event: &Event) {
        if let Event::ServerError(error) = event {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    }
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where the server is, and who we are to it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Connect {
    /// `nats://host:4222`, or `tls://…`; several with commas. A user and a password, or a token, can stand in it, the same for all; letters and digits only.
    pub url: String,
    /// A file with a JWT and a key, as `nsc` and `nats` write them.
    pub credentials: Option<PathBuf>,
    /// A file of certificates that the server's is signed by; the system's by default.
    pub ca: Option<PathBuf>,
    /// A certificate of our own and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Connect {
    /// To this server, without credentials.
    pub fn to(url: impl Into<String>) -> Connect {
        Connect { url: url.into(), ..Connect::default() }
    }
    /// With a file of credentials.
    pub fn credentials(mut self, file: impl Into<PathBuf>) -> Connect {
        self.credentials = Some(file.into());
        self
    }
    /// With certificates that the server's is signed by.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Connect {
        self.ca = Some(file.into());
        self
    }
    /// With a certificate of our own and its key.
    pub fn certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Connect {
        self.certificate = Some((certificate.into(), key.into()));
        self
    }

    /// The url without what is secret in it.
    pub(crate) fn shown(&self) -> String {
        let servers = self.url.split(',').map(|server| match (server.find("://"), server.rfind('@')) {
            (Some(scheme), Some(at)) if at > scheme => format!("{}…{}", &server[..scheme + 3], &server[at..]),
            _ => server.to_owned(),
        });
        servers.collect::<Vec<_>>().join(",")
    }

    /// Connects, once: what waits for a server is the caller's business.
    pub(crate) async fn connect(&self, name: &str) -> Result<(Client, Trouble), Error> {
        let trouble = Trouble::default();
        let told = trouble.clone();
        let failed = |why: String| Error::Connect { url: self.shown(), why };
        let mut options = async_nats::ConnectOptions::new()
            .name(name)
            .connection_timeout(ANSWER_TIME)
            .request_timeout(Some(ANSWER_TIME))
            .client_capacity(CLIENT_CAPACITY)
            .ping_interval(Duration::from_secs(10))
            .event_callback(move |event| {
                told.note(&event);
                std::future::ready(())
            })
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(50 << attempts.min(6)).min(RECONNECT_MAX)
            });
        if let Some(file) = &self.credentials {
            options = options
                .credentials_file(file)
                .await
                .map_err(|error| failed(format!("{}: {error}", file.display())))?;
        }
        if let Some(file) = &self.ca {
            options = options.add_root_certificates(file.clone());
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let servers: Result<Vec<async_nats::ServerAddr>, _> = self.url.split(',').map(str::parse).collect();
        let servers = servers.map_err(|error| failed(format!("{error}; expected nats://host:port")))?;
        // The library leaves them where they are.
        if let Some(server) = servers.iter().find(|server| server.has_user_pass()) {
            let user = server.username().unwrap_or_default().to_owned();
            options = match server.password() {
                Some(password) => options.user_and_password(user, password.to_owned()),
                None => options.token(user),
            };
        }
        let client = options.connect(servers).await.map_err(|error| failed(error.to_string()))?;
        Ok((client, trouble))
    }
}

pub(crate) fn jetstream(client: &Client) -> jetstream::Context {
    ContextBuilder::new().timeout(ANSWER_TIME).ack_timeout(ANSWER_TIME).build(client.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        assert_eq!(
            Connect::to("nats://me:secret@host:1,nats://token@b").shown(),
            "nats://…@host:1,nats://…@b"
        );
        assert_eq!(Connect::to("host:4222").shown(), "host:4222");
    }
}
