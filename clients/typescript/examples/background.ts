import { Ostler } from "ostler-client";

const ostler = await Ostler.open({ onEnd: (end) => console.log("meanwhile:", end.text) });
try {
  const build = await ostler.start("for n in 1 2 3; do echo compiling $n; sleep 0.2; done; exit 2", { labels: { task: "build" } });
  while ((await ostler.list({ running: true })).commands.some((row) => row.handle === build.handle)) {
    await ostler.run("git status --short; sleep 0.1"); // whatever comes next tells that the build has ended
  }
  const page = await build.read({ tail: 1 });
  console.log(page.status, page.output.trim());
  const quick = await ostler.start("sleep 0.2; echo quick", { waitMs: 10_000 }); // back when it has ended, after 10 s at the latest
  console.log(quick.state?.output.trim());
} finally {
  await ostler.close();
}
