// Verifies signed webhooks with the library that receivers use: npm's standardwebhooks.
//
// Reads one JSON object a line: {"secret": "whsec_...", "headers": {"webhook-id": ...}, "body": "..."}.
// Prints "ok", or "bad: why", for each. Exit status: 0 if all were good, 1 if not, 2 for input that is
// none of this (no line at all, too).

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../node/package.json", import.meta.url));
const { Webhook } = require("standardwebhooks");

function verify({ secret, headers, body }) {
	try {
		new Webhook(secret).verify(body, headers);
	} catch (error) {
		// It parses the body once the signature was good; that of a raw notification is no JSON.
		if (!(error instanceof SyntaxError)) return `bad: ${error.message}`;
	}
	return "ok";
}

let status = 0;
let lines = 0;

for await (const line of createInterface({ input: process.stdin })) {
	if (line.trim() === "") continue;
	lines++;
	let question;
	try {
		question = JSON.parse(line);
	} catch (error) {
		console.log(`bad: ${error.message}`);
		status = 2;
		continue;
	}
	const answer = verify(question);
	if (answer !== "ok") status = Math.max(status, 1);
	console.log(answer);
}
process.exitCode = lines > 0 ? status : 2;
