// Reads requests as CloudEvents with the library that receivers use: npm's cloudevents.
//
// Reads one JSON object a line: {"headers": {"content-type": ...}, "body": "..."}. Prints for each a list of
// what the library found: {"mode": "batch" | "one", "events": [...]}, or {"error": "why"}. Exit status: 0 if
// all were good, 1 if not.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../node/package.json", import.meta.url));
const { HTTP } = require("cloudevents");

function parse(message) {
	const found = HTTP.toEvent(message);
	const events = Array.isArray(found) ? found : [found];
	for (const event of events) event.validate();
	return { mode: Array.isArray(found) ? "batch" : "one", events: events.map((event) => event.toJSON()) };
}

for await (const line of createInterface({ input: process.stdin })) {
	try {
		console.log(JSON.stringify(parse(JSON.parse(line))));
	} catch (error) {
		console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }));
		process.exitCode = 1;
	}
}
