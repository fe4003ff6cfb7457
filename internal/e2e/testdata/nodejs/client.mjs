// Connects with a credentials file, and does what its user may and may not do.
//
//   node client.mjs URL CREDS
//
// Prints one JSON object; exits 1 with the server's reason if it is refused.
import { readFile } from "node:fs/promises";
import { connect, credsAuthenticator, wsconnect } from "@nats-io/transport-node";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // older versions of Node.js have none

const [url, creds] = process.argv.slice(2);
const dial = url.startsWith("ws") ? wsconnect : connect;
let nc;
try {
  nc = await dial({ servers: url, authenticator: credsAuthenticator(await readFile(creds)), reconnect: false });
} catch (err) {
  console.error(err.message);
  process.exit(1);
}
const refused = new Promise((resolve) => {
  (async () => {
    for await (const s of nc.status()) if (s.type === "error") resolve(s.error.message);
  })();
});
nc.subscribe("orders.new", { callback: (err, msg) => err || msg.respond("seen " + msg.string()) });
const answer = await nc.request("orders.new", "one", { timeout: 10_000 });
nc.publish("secrets");
await nc.flush();
console.log(JSON.stringify({ answer: answer.string(), refused: await refused }));
await nc.close();
