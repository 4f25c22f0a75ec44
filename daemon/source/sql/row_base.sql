-- What can be said of a row whose payload cannot be had. $1 its event_id.
SELECT json_build_object('type', j.payload ->> 'type', 'tag', j.payload ->> 'tag', 'timestamp', j.payload ->> 'timestamp',
	'incomplete', true)::text
FROM ONLY schema_notifications.journal j WHERE j.event_id = $1::uuid
