import { Ostler } from "ostler-client";

const listen = "require('http').createServer((_, answer) => answer.end('hello')).listen(0, '127.0.0.1', function () { console.log('port', this.address().port) })";
const ostler = await Ostler.open();
try {
  const server = await ostler.start([process.execPath, "-e", listen]);
  const ready = await server.wait({ pattern: "port (\\d+)", timeoutMs: 30_000 });
  if (ready.condition === null) throw new Error(`it does not listen: ${ready.text}`);
  const answer = await fetch(`http://127.0.0.1:${ready.condition.groups[1]}`);
  console.log(answer.status, await answer.text());
  const stopped = await server.cancel();
  console.log(stopped.status, stopped.stopCause);
} finally {
  await ostler.close();
}
