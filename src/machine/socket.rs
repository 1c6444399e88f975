//! Sockets with a name in the file system.

use std::{
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::Mode,
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use crate::failure::Failure;

/// Removes a socket's name from the file system when the machine ends.
pub struct SocketName(PathBuf);

impl Drop for SocketName {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whom the process lets use its files.
    Usual,
    /// The user who runs the machine.
    Owner,
}

/// How many connections may wait to be accepted.
const WAITING: i32 = 16;

/// Listens at `path`. A socket that nobody listens at any more is replaced.
pub fn listen(path: &Path, access: Access) -> Result<(UnixListener, SocketName), Failure> {
    let refused = |error: std::io::Error| {
        Failure::resource(format!("the socket {} cannot be made: {error}; choose another path", path.display()))
    };
    let listener = match bind(path, access) {
        Err(Errno::ADDRINUSE) if is_abandoned(path) => {
            std::fs::remove_file(path).map_err(refused)?;
            bind(path, access)
        }
        bound => bound,
    };
    Ok((listener.map_err(|errno| refused(errno.into()))?, SocketName(path.into())))
}

fn bind(path: &Path, access: Access) -> Result<UnixListener, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &address)?;
    let name = SocketName(path.into());
    if access == Access::Owner {
        // Nobody can connect before the socket listens.
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    }
    rustix::net::listen(&socket, WAITING)?;
    // Whoever listens takes it away.
    std::mem::forget(name);
    Ok(socket.into())
}

fn is_abandoned(path: &Path) -> bool {
    // To connect to what is no socket is refused just so.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && matches!(UnixStream::connect(path), Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_socket_is_its_owners_replaces_a_dead_one_and_is_gone_at_the_end() {
        let path = std::env::temp_dir().join(format!("dragoman-socket-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        drop(UnixListener::bind(&path).expect("a socket can be made"));
        assert!(path.exists(), "a dead socket");
        let (listener, name) = listen(&path, Access::Owner).expect("nobody listens there");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let message = listen(&path, Access::Owner).map(|_| ()).expect_err("one listens already").to_string();
        assert!(message.contains("in use"), "{message}");
        assert!(path.exists(), "whoever was refused takes nothing away");
        let _client = UnixStream::connect(&path).expect("it listens");
        drop((listener, name));
        assert!(!path.exists());
        std::fs::write(&path, "precious").expect("a file can be written");
        assert!(listen(&path, Access::Owner).is_err());
        assert_eq!(std::fs::read(&path).expect("it is left alone"), b"precious");
        std::fs::remove_file(&path).expect("ours");
    }
}
