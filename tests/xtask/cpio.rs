//! Archives in the "newc" cpio format, which the kernel unpacks as its first root file system.
//!
//! Rule: the same entries give the same bytes, on every machine and day: no times, owners or inode numbers of the host.
//! Reference: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// An archive that grows entry by entry. Folders must come before what is in them.
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), inode: 0 }
    }

    /// A folder, with `permissions` as in `chmod`.
    pub fn folder(&mut self, path: &str, permissions: u32) {
        self.entry(path, DIRECTORY | permissions, (0, 0), b"");
    }

    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, REGULAR | permissions, (0, 0), content);
    }

    /// A symbolic link at `path` that leads to `target`.
    pub fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// A character device.
    pub fn device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) {
        self.entry(path, CHARACTER | permissions, (major, minor), b"");
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.header("TRAILER!!!", 0, (0, 0), 0);
        // cpio programs read in blocks of this size and complain about less.
        self.pad(512);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inode += 1;
        let length = u32::try_from(content.len()).expect("a file in an initial root file system is below 4 GiB");
        self.header(path, mode, device, length);
        self.bytes.extend_from_slice(content);
        self.pad(4);
    }

    fn header(&mut self, path: &str, mode: u32, device: (u32, u32), length: u32) {
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let name_length = path.len() as u32 + 1;
        let (uid, gid, time, host_major, host_minor, check) = (0, 0, 0, 0, 0, 0);
        let fields =
            [self.inode, mode, uid, gid, links, time, length, host_major, host_minor, device.0, device.1, name_length, check];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad(4);
    }

    fn pad(&mut self, boundary: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(boundary), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::new();
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 512, 0);
        let header = "070701000000010000\
                      81ed0000000000000000000000010000000000000005000000000000000000000000000000000000000500000000";
        assert_eq!(&bytes[..110], header.as_bytes());
        // 110 bytes of header and 5 of name end at 115; content begins at the next multiple of four.
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
    }

    #[test]
    fn folders_links_and_devices_carry_their_kind() {
        let mut archive = Archive::new();
        archive.folder("dev", 0o755);
        archive.device("dev/console", 0o600, 5, 1);
        archive.link("sh", "busybox");
        let text = String::from_utf8(archive.finish()).expect("all of it is ASCII");
        assert!(text.contains("000041ed"));
        assert!(text.contains("00002180"));
        assert!(text.contains("0000a1ff"));
        assert!(text.contains("0000000500000001"));
        assert!(text.contains("busybox"));
    }
}
