use ostler::*;
use std::time::{Duration, Instant};
fn main() {
    for tier in [Containment::Cgroup, Containment::Subreaper, Containment::Group] {
        let o = match Ostler::start(Config {
            containment: vec![tier],
            artifact_root: Some("/tmp/ost".into()),
            ..Config::default()
        }) {
            Ok(o) => o,
            Err(e) => {
                println!("{e}");
                continue;
            }
        };
        println!("== {:?}", o.containment());
        let s = o.open_session(None).wait().unwrap();
        let result = || {
            let e = s.inbox().receive(Filter::any(), 1, Duration::from_secs(5)).wait().unwrap();
            e[0].record().unwrap().clone()
        };
        let _h = s
            .launch(Command::new("sh").args(["-c", "echo hi; echo err >&2; sleep 0.1; exit 3"]))
            .wait()
            .unwrap();
        let r = result();
        println!(
            "{:?} {:?} {} {:?} {:?} {:?}",
            r.containment, r.exit_code, r.stdout, r.stderr, r.usage, r.leftovers
        );
        let _h=s.launch(Command::new("sh").args(["-c","sleep 100 & setsid sleep 101 & (setsid sh -c 'trap \"\" TERM; sleep 102' &) ; sleep 0.1; exit 0"])).wait().unwrap();
        let t = Instant::now();
        let r = result();
        println!("{:?} {:?}", t.elapsed(), r.leftovers);
        let h = s.launch(Command::new("sh").args(["-c", "setsid sleep 103 & sleep 100"])).wait().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let t = Instant::now();
        let c = h.cancel().wait().unwrap();
        println!("{:?} {:?} {:?}", t.elapsed(), c.record.signal, c.record.leftovers);
        println!("{:?}", s.launch(Command::new("nope")).wait());
        println!("{:?}", s.launch(Command::new("/etc/passwd")).wait());
        println!("{:?}", s.launch(Command::new("true").current_dir("/nope")).wait());
        // timing
        let mut v = vec![];
        for _ in 0..100 {
            let t = Instant::now();
            s.launch(Command::new("true")).wait().unwrap();
            let l = t.elapsed();
            result();
            v.push((t.elapsed(), l));
        }
        v.sort();
        println!("spawn to result p50 {:?}", v[50]);
        let t = Instant::now();
        println!("{:?}", s.end().wait());
        println!("{:?} {:?}", o.shutdown().wait(), t.elapsed());
        drop((o, s, h));
        println!("{}",String::from_utf8_lossy(&std::process::Command::new("sh").args(["-c","ps -eo pid,ppid,stat,args | grep -E 'sleep 10|ostler-|memfd' | grep -v grep; ls -d /sys/fs/cgroup/unified/ostler* 2>/dev/null; "]).output().unwrap().stdout));
    }
}
