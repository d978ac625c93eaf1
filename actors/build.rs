//! Compiles the helper (`src/linux/contain/helper`), which the library carries inside and runs from memory.
//!
//! It has no dependency, so the compiler that builds this crate builds it too. Where that does not work, the library goes
//! without, and says so when it is asked for its containment.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE: &str = "src/linux/contain/helper/main.rs";

fn main() {
    println!("cargo::rerun-if-changed=src/linux/contain/helper");
    println!("cargo::rerun-if-changed=src/linux/proc.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let (program, reason) = (out.join("helper"), out.join("helper-reason.txt"));
    // A static program starts twice as fast: no loader, no relocations. Where there is no static C library, a dynamic one
    // does the same work.
    let said = match compile(&program, true) {
        Ok(()) => String::new(),
        Err(why) => match compile(&program, false) {
            Ok(()) => String::new(),
            Err(_) => {
                println!("cargo::warning=the helper was not built, so the subreaper tier is missing: {why}");
                let _ = fs::write(&program, []);
                format!("the helper was not built: {why}")
            }
        },
    };
    if let Err(error) = fs::write(&reason, said) {
        println!("cargo::error=OUT_DIR can't be written: {error}");
    }
}

fn compile(program: &Path, is_static: bool) -> Result<(), String> {
    let rustc = env::var_os("RUSTC").ok_or("RUSTC is not set")?;
    let mut command = Command::new(rustc);
    command.args([SOURCE, "--crate-name", "ostler_helper", "--crate-type", "bin", "--edition", "2024"]);
    command.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "lto=fat", "-C", "codegen-units=1"]);
    command.args(["-C", "strip=symbols", "-C", "debuginfo=0", "--cap-lints", "allow"]);
    if is_static {
        command.args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    }
    if let Ok(target) = env::var("TARGET") {
        command.args(["--target", &target]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        command.arg("-C").arg(option);
    }
    let output = command.arg("-o").arg(program).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join(" ")),
    }
}
