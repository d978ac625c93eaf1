//! Messages with descriptors in them, over a SEQPACKET socket (unix(7), cmsg(3)).

use super::{
    protocol::{FILES_MAX, Report},
    sys::{Fd, errno},
};
use std::{
    ffi::{c_int, c_uint, c_void},
    ptr,
};

unsafe extern "C" {
    fn sendmsg(fd: c_int, message: *const Message, flags: c_int) -> isize;
    fn recvmsg(fd: c_int, message: *mut Message, flags: c_int) -> isize;
}

const SOL_SOCKET: c_int = 1;
const SCM_RIGHTS: c_int = 1;
const MSG_NOSIGNAL: c_int = 0x4000;
const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
const EINTR: i32 = 4;

/// `struct iovec`.
#[repr(C)]
struct Part {
    base: *mut c_void,
    bytes: usize,
}
/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: *mut c_void,
    name_bytes: c_uint,
    parts: *mut Part,
    count: usize,
    control: *mut c_void,
    control_bytes: usize,
    flags: c_int,
}
/// `struct cmsghdr` with descriptors behind it.
#[repr(C, align(8))]
struct Control {
    bytes: usize,
    level: c_int,
    kind: c_int,
    fds: [c_int; FILES_MAX],
}
impl Control {
    const HEAD_BYTES: usize = std::mem::offset_of!(Control, fds);
}

/// A message that has come.
pub(crate) struct Received {
    pub(crate) bytes: usize,
    pub(crate) files: [Option<Fd>; FILES_MAX],
}

impl Fd {
    /// A graph that is gone shows at the next wait.
    pub(crate) fn send(&self, report: &Report, file: Option<&Fd>) {
        let mut part = Part { base: report.as_ptr().cast_mut().cast(), bytes: size_of::<Report>() };
        let mut control = Control { bytes: 0, level: SOL_SOCKET, kind: SCM_RIGHTS, fds: [-1; FILES_MAX] };
        let mut message = Message {
            name: ptr::null_mut(),
            name_bytes: 0,
            parts: &raw mut part,
            count: 1,
            control: ptr::null_mut(),
            control_bytes: 0,
            flags: 0,
        };
        if let Some(file) = file {
            control.fds[0] = file.number();
            control.bytes = Control::HEAD_BYTES + size_of::<c_int>();
            message.control = (&raw mut control).cast();
            message.control_bytes = control.bytes.next_multiple_of(size_of::<usize>());
        }
        // SAFETY: reads the report's own bytes, and the control message, both of which outlive the call.
        unsafe { sendmsg(self.number(), &raw const message, MSG_NOSIGNAL) };
    }

    /// None at the end.
    pub(crate) fn receive(&self, to: &mut [u8]) -> Option<Received> {
        let mut part = Part { base: to.as_mut_ptr().cast(), bytes: to.len() };
        let mut control = Control { bytes: 0, level: 0, kind: 0, fds: [-1; FILES_MAX] };
        let mut message = Message {
            name: ptr::null_mut(),
            name_bytes: 0,
            parts: &raw mut part,
            count: 1,
            control: (&raw mut control).cast(),
            control_bytes: size_of::<Control>(),
            flags: 0,
        };
        let bytes = loop {
            // SAFETY: writes at most as many bytes as the slice and the control message have.
            let count = unsafe { recvmsg(self.number(), &raw mut message, MSG_CMSG_CLOEXEC) };
            match usize::try_from(count) {
                Ok(0) => return None,
                Ok(bytes) => break bytes,
                Err(_) if errno() == EINTR => {}
                Err(_) => return None,
            }
        };
        let count = match message.control_bytes {
            0 => 0,
            _ => control.bytes.saturating_sub(Control::HEAD_BYTES) / size_of::<c_int>(),
        };
        let file = |n: usize| (n < count).then(|| Fd::own(control.fds[n]));
        Some(Received { bytes, files: std::array::from_fn(file) })
    }
}
