// node receiver.mjs SECRET_FILE [PORT]: takes the webhook, and tells every browser that has the page open.
//
// It keeps nothing: a page that is told twice refreshes twice, and one that was not open reads the present state when it opens.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const [secretFile, port = '8080'] = process.argv.slice(2)
const key = Buffer.from(readFileSync(secretFile, 'utf8').trim().replace(/^whsec_/, ''), 'base64')
const browsers = new Set()

const page = `<!doctype html>
<title>Schema</title>
<p>Changes so far: <output>0</output></p>
<pre></pre>
<script>
	// An application would read its tables anew here. textContent: names are whatever somebody has chosen.
	new EventSource('/events').onmessage = (event) => {
		const { databases, changes, resync } = JSON.parse(event.data)
		document.querySelector('output').value = Number(document.querySelector('output').value) + changes.length
		document.querySelector('pre').textContent = databases.join(', ') + '\\n' + (resync ? 'refresh everything' : changes.join('\\n'))
	}
</script>`

// Standard Webhooks: one of the signatures fits, and the request is of now.
function isOurs(headers, body) {
	const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.`
	const expected = createHmac('sha256', key).update(signed).update(body).digest()
	const fits = (headers['webhook-signature'] ?? '').split(' ').some((signature) => {
		const given = Buffer.from(signature.replace(/^v1,/, ''), 'base64')
		return given.length === expected.length && timingSafeEqual(given, expected)
	})
	return fits && Math.abs(Date.now() / 1000 - Number(headers['webhook-timestamp'])) < 300
}

function tell(body) {
	// A single CloudEvent, or a batch of them.
	const events = [JSON.parse(body)].flat().filter((event) => event.type !== 'schemarelay.test')
	// Of `schemarelay test sink page`: it has arrived, and nothing has changed.
	if (events.length === 0)
		return
	const message = JSON.stringify({
		databases: [...new Set(events.map((event) => event.partitionkey))],
		changes: events.map((event) => `${event.data?.tag ?? event.type} ${event.subject ?? ''}`),
		resync: events.some((event) => event.type === 'schemarelay.resync'),
	})
	for (const browser of browsers)
		browser.write(`data: ${message}\n\n`)
}

async function answer(request, response) {
	if (request.method === 'POST' && request.url === '/hooks/schema') {
		const chunks = []
		let size = 0
		for await (const chunk of request) {
			chunks.push(chunk)
			// A body is 1 MiB, or a single change, which is little more.
			size += chunk.length
			if (size > 2 ** 21)
				return response.writeHead(413, { connection: 'close' }).end()
		}
		const body = Buffer.concat(chunks)
		if (!isOurs(request.headers, body))
			return response.writeHead(401).end()
		tell(body)
		return response.writeHead(204).end()
	}
	if (request.url === '/events') {
		browsers.add(response)
		response.on('close', () => browsers.delete(response))
		response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
		return response.write(': hello\n\n')
	}
	response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page)
}

createServer((request, response) => {
	// Who leaves in the middle of a body must not take the others along: without this, Node ends.
	answer(request, response).catch((error) => {
		console.error(error.message)
		response.destroy()
	})
}).listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/`))
