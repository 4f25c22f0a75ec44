// An application as the README describes it, with the npm package `postgres`: it listens, hears two
// changes, no longer listens, and prints what it heard.
import { createRequire } from "node:module";

const postgres = createRequire(process.env.NODE_BASE)("postgres");
const [host, port, database] = process.argv.slice(2);
const sql = postgres({ host, port: Number(port), database, username: "postgres", onnotice: () => {} });
const heard = [];
let done;
const two = new Promise((resolve) => { done = resolve; });

const { unlisten } = await sql.listen("schema_changed", (payload) => {
	heard.push(payload);
	if (heard.length === 2)
		done();
});
await sql`CREATE TABLE from_node (id int, name text)`;
await sql`ALTER TABLE from_node DROP COLUMN name`;
await two;
await unlisten();
await sql`DROP TABLE from_node`;
// A round trip on a channel of our own: what was to come on the other has come before.
await new Promise(async (resolve) => {
	await sql.listen("other", resolve);
	await sql.notify("other", "x");
});
console.log(JSON.stringify({ heard, parsed: heard.map((p) => JSON.parse(p)) }));
await sql.end();
