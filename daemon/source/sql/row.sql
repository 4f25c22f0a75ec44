-- One row's payload. $1 its event_id, $2 bytes of a payload at most.
SELECT CASE WHEN octet_length(j.payload::text) <= $2::bigint THEN j.payload::text END
FROM ONLY schema_notifications.journal j WHERE j.event_id = $1::uuid
