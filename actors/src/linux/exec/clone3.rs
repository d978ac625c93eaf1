//! `clone3` with a function for the child, as the C library has it for `clone`: only it can make a process in a cgroup.
//! Shared by the graph and by the helper, which is a program of its own: so nothing but the standard library is used here.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_long, c_void},
    os::fd::RawFd,
};

/// What the child runs. It must not return.
pub(crate) type Run = extern "C" fn(*mut c_void) -> c_int;

/// `CLONE_INTO_CGROUP` (linux/sched.h, kernel 5.7): only clone3(2) has room for it, and the C library has no clone3.
const CLONE_INTO_CGROUP: u64 = 1 << 33;
/// SIGCHLD, for the parent.
const EXIT_SIGNAL: u64 = 17;
/// The same number on every architecture (kernel 5.3 and later).
const SYS_CLONE3: c_long = 435;

/// `struct clone_args` up to its last member (clone(2)).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What `clone` of the C library does, into a cgroup. The number of the child, or an errno.
///
/// # Safety
/// As for `clone`: `run` may be called with `argument` in a process that shares all memory, the stack is as large as it
/// says and used by nobody else, and signals are blocked. `flags` hold CLONE_VFORK: the caller waits until the child has left.
pub(crate) unsafe fn clone_into(
    cgroup: RawFd,
    flags: c_int,
    (stack, stack_bytes): (*mut c_void, usize),
    run: Run,
    argument: *mut c_void,
    pidfd: *mut RawFd,
) -> Result<c_int, c_int> {
    let args = CloneArgs {
        flags: u64::from(flags.cast_unsigned()) | CLONE_INTO_CGROUP,
        pidfd: pidfd.addr() as u64,
        exit_signal: EXIT_SIGNAL,
        stack: stack.addr() as u64,
        stack_size: stack_bytes as u64,
        cgroup: cgroup as u64,
        ..CloneArgs::default()
    };
    // The kernel writes the pidfd through a number.
    stack.expose_provenance();
    pidfd.expose_provenance();
    // SAFETY: the caller's promise. In the parent this is one system call, whose clobbers are named. The child comes out
    // of it on its own stack, 16-byte aligned, with the other registers as they were; it calls `run`, which never returns.
    let result = unsafe { clone3(&raw const args, run, argument) };
    // A number of a process fits, and so does an errno.
    if result < 0 { Err(-result as c_int) } else { Ok(result as c_int) }
}

/// # Safety
/// See [`clone_into`].
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: *const CloneArgs, run: Run, argument: *mut c_void) -> isize {
    let result;
    // SAFETY: the caller's promise.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") SYS_CLONE3 as isize => result,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") run,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// # Safety
/// See [`clone_into`].
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: *const CloneArgs, run: Run, argument: *mut c_void) -> isize {
    let result;
    // SAFETY: the caller's promise.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x20",
            "brk 1",
            "2:",
            inlateout("x0") args => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") SYS_CLONE3,
            in("x20") run,
            in("x21") argument,
        );
    }
    result
}

/// Elsewhere there is no cgroup tier.
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3(_: *const CloneArgs, _: Run, _: *mut c_void) -> isize {
    const ENOSYS: isize = 38;
    let _ = SYS_CLONE3;
    -ENOSYS
}
