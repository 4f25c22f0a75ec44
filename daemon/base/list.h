#pragma once

/*
 * An intrusive, circular, doubly linked list. A head and a member have the same type; a member that
 * is on no list points to itself, so list_del() may be called on it again.
 */

#include <stdbool.h>

#include "base/macro.h"

struct list {
	struct list *prev;
	struct list *next;
};

#define LIST_INIT(_l)                        \
	{                                    \
		.prev = &(_l), .next = &(_l) \
	}

static inline void list_init(struct list *l)
{
	l->prev = l;
	l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *where, struct list *what)
{
	what->prev = where->prev;
	what->next = where;
	where->prev->next = what;
	where->prev = what;
}

/* Adds @what, which is on no list, behind the last (or before the first) member of @head. */
static inline void list_append(struct list *head, struct list *what)
{
	list_insert_before(head, what);
}

static inline void list_prepend(struct list *head, struct list *what)
{
	list_insert_before(head->next, what);
}

static inline void list_del(struct list *what)
{
	what->prev->next = what->next;
	what->next->prev = what->prev;
	list_init(what);
}

/* Moves all members of @from behind those of @to; @from is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(_l, _type, _member) container_of(_l, _type, _member)

/* The first member's object, or NULL. */
#define list_first(_head, _type, _member) \
	(list_empty(_head) ? NULL : list_entry((_head)->next, _type, _member))

#define list_for_each_entry(_e, _head, _member)                                                 \
	for (_e = list_entry((_head)->next, __typeof__(*_e), _member); &_e->_member != (_head); \
	     _e = list_entry(_e->_member.next, __typeof__(*_e), _member))

/* The same where the body may unlink or free @_e (but no other member). */
#define list_for_each_entry_safe(_e, _safe, _head, _member)                 \
	for (_e = list_entry((_head)->next, __typeof__(*_e), _member),      \
	    _safe = list_entry(_e->_member.next, __typeof__(*_e), _member); \
	     &_e->_member != (_head);                                       \
	     _e = _safe, _safe = list_entry(_e->_member.next, __typeof__(*_e), _member))
