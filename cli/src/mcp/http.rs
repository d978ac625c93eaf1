//! `ostler mcp --http`: the same over streamable HTTP, for clients on this machine.

use super::Where;
use crate::{exit::Failure, term};
use nix::unistd::geteuid;
use ostler::{Config, Journal, Ostler};
use ostler_mcp::{HttpServer, OpenError, Options};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::Notify,
};

/// The journal of all sessions of such a server. No session of another has one of this name.
const JOURNAL: &str = "mcp.http";
/// Random bytes of a token; it is twice as long, in hex.
const TOKEN_BYTES: usize = 32;

/// Where it listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Loopback(SocketAddr),
    Unix(PathBuf),
}

/// `127.0.0.1:0` or `unix:/run/user/1000/ostler.sock`.
pub(crate) fn address(text: &str) -> Result<Address, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let address: SocketAddr = text.parse().map_err(|_| "write 127.0.0.1:PORT, [::1]:PORT or unix:PATH")?;
    match address.ip().is_loopback() {
        true => Ok(Address::Loopback(address)),
        false => Err("it serves this machine only: write a loopback address or unix:PATH"),
    }
}

pub(super) async fn serve(
    address: &Address,
    token_file: Option<&Path>,
    runs: Where,
    stop: &Notify,
) -> Result<(), Failure> {
    let failed = |error| Failure::system("the HTTP server")(error);
    let file = token_file.map_or_else(default_token_file, |path| Ok(path.to_owned())).map_err(failed)?;
    let token = token(&file).map_err(failed)?;
    let server = match runs {
        Where::Here(options, config) => here(token, options, *config),
        #[cfg(feature = "nats")]
        Where::Pool(options, open) => HttpServer::new(token, options, move |name| open(name)),
    };
    let says = |at: String| {
        term::say(|out| writeln!(out, "listens on {at}; the token is in {}", file.display()));
    };
    match address {
        Address::Loopback(address) => {
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            says(format!("http://{}/mcp", listener.local_addr().map_err(failed)?));
            server.serve(listener, stop.notified()).await;
        }
        Address::Unix(path) => {
            let listener = unix(path).map_err(failed)?;
            says(format!("unix:{}", path.display()));
            server.serve(listener, stop.notified()).await;
            fs::remove_file(path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Sessions of one graph, which begins with the first of them.
fn here(token: String, options: Options, config: Config) -> HttpServer {
    let graph: Arc<Mutex<Option<Ostler>>> = Arc::default();
    let config = config.journal(Journal::named(JOURNAL));
    HttpServer::new(token, options, move |name| {
        let mut graph = graph.lock().unwrap_or_else(PoisonError::into_inner);
        let ostler = match &*graph {
            Some(ostler) => ostler.clone(),
            None => graph.insert(Ostler::start(config.clone())?).clone(),
        };
        drop(graph);
        let session = match name {
            "" => ostler.open_session().wait()?,
            name => ostler.open_session_as(name).wait()?,
        };
        Ok::<_, OpenError>(session)
    })
}

/// In place of a socket that nobody listens on; never of another file.
fn unix(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there already"));
            }
            fs::remove_file(path)?;
        }
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "there is another file at that path")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    // The token is asked for too; this keeps others from asking.
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

fn default_token_file() -> io::Result<PathBuf> {
    let base = ostler::journal::default_base().and_then(|base| Some(base.parent()?.join("mcp-token")));
    base.ok_or_else(|| io::Error::other("neither XDG_STATE_HOME nor HOME is set; give --token-file"))
}

/// What stands in the file, which only its owner may read; a new one, if there is none.
fn token(path: &Path) -> io::Result<String> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let mut bytes = [0; TOKEN_BYTES];
            File::open("/dev/urandom")?.read_exact(&mut bytes)?;
            let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            file.write_all(token.as_bytes())?;
            Ok(token)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let file = File::open(path)?;
            let there = file.metadata()?;
            let why = |why| Err(io::Error::other(format!("{}: {why}", path.display())));
            if !there.is_file() || there.uid() != geteuid().as_raw() || there.mode() & 0o077 != 0 {
                return why("the file of the token must be yours alone (chmod 600)");
            }
            let mut token = String::new();
            file.take(1_024).read_to_string(&mut token)?;
            let token = token.trim().to_owned();
            match token.len() {
                TOKEN_BYTES.. => Ok(token),
                _ => why("the token is too short; remove the file, and a new one is made"),
            }
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_listens_on_this_machine_only() {
        assert!(matches!(address("127.0.0.1:0"), Ok(Address::Loopback(_))));
        assert!(matches!(address("[::1]:80"), Ok(Address::Loopback(_))));
        assert!(matches!(address("unix:/a"), Ok(Address::Unix(_))));
        for other in ["0.0.0.0:80", "10.0.0.1:80", "localhost", "", "[::]:1"] {
            assert!(address(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_token_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/token");
        let made = token(&path).unwrap();
        assert_eq!((made.len(), token(&path).unwrap()), (64, made));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(token(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(token(&path).is_err());
    }
}
