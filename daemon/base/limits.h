#pragma once

/*
 * Everything that somebody outside can make grow has its limit here (DESIGN.md, section 11). What
 * exceeds one gets a clear error and a counter.
 */

#define LIMIT_PAYLOAD_NOTIFY    8000u    /* bytes; PostgreSQL's own limit for NOTIFY */
#define LIMIT_PAYLOAD_JOURNAL   1048576u /* bytes of one journal row's payload: 1 MiB */
#define LIMIT_CONFIG_BYTES      4194304u /* of all configuration files together: 4 MiB */
#define LIMIT_CONFIG_DATABASES  20000u
#define LIMIT_CONFIG_SINKS      256u
#define LIMIT_CONFIG_INCLUDES   1024u /* files */
#define LIMIT_CONFIG_ERRORS     50u   /* that are told; the rest is counted */
#define LIMIT_DSN               8192u /* bytes */
#define LIMIT_URL               8192u
#define LIMIT_HEADER_VALUE      8192u
#define LIMIT_PATTERN           1024u    /* bytes of one pattern of a match */
#define LIMIT_SECRET_BYTES      65536u   /* of one secret or password file */
#define LIMIT_CERT_BYTES        1048576u /* of one CA bundle, certificate or key: 1 MiB */
#define LIMIT_HTTP_RESPONSE     16384u   /* bytes of a webhook's answer, headers apart */
#define LIMIT_HTTP_HEADERS      65536u   /* bytes of a webhook's response headers */
#define LIMIT_HTTP_ANSWER       512u     /* bytes of a webhook's answer that are kept */
#define LIMIT_HTTP_IDLE         1024u    /* connections kept alive, of all webhooks */
#define LIMIT_ADMIN_REQUEST     65536u   /* bytes */
#define LIMIT_ADMIN_CLIENTS     64u
#define LIMIT_ADMIN_ROWS        1000u    /* changes or dead letters in one answer */
#define LIMIT_ADMIN_PENDING     1048576u /* bytes of changes that one who follows has not read yet */
#define LIMIT_ADMIN_NUMBERS     100u     /* dead letters named in one request */
#define LIMIT_SUBSCRIBERS       256u     /* of one unix sink */
#define LIMIT_SUBSCRIBER_BYTES  8388608u /* not yet read by one subscriber: 8 MiB */
#define LIMIT_SUBSCRIBER_HELLO  1024u    /* bytes of its first line */
#define LIMIT_SINK_WINDOW       4096u    /* deliveries in memory per sink ... */
#define LIMIT_SINK_WINDOW_BYTES 8388608u /* ... and their payloads: 8 MiB */
#define LIMIT_BATCH_CHANGES     1000u    /* that go in one request of a webhook */
#define LIMIT_BATCH_BYTES       1048576u /* of its body: 1 MiB; a change that is larger goes alone */
#define LIMIT_STORE_PENDING     8388608u /* bytes that wait for the disk: 8 MiB */
#define LIMIT_HANDSHAKES        16u      /* connection attempts at once */
#define LIMIT_CONNECT_THREADS   32u /* of which a server may keep one busy as long as it likes */
#define LIMIT_JSON_DEPTH        64u
#define LIMIT_JSON_WRAP         4u       /* levels more of what holds payloads: a list of events */
#define LIMIT_JSON_VALUES       1000000u /* of one tree */
#define LIMIT_OBJECTS           100u     /* of one change, as the journal makes them */
#define LIMIT_ATTRIBUTE         1024u    /* bytes of a CloudEvents attribute: subject, channel */
#define LIMIT_NAME              63u      /* bytes of a database's or sink's name */
#define LIMIT_RESOLVER_QUEUE    65536u   /* look-ups that wait for a thread */
#define LIMIT_RESOLVER_ADDRS    8u       /* addresses kept of one name */
