/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Embedded doubly linked lists. A head and a link are both a List; an unlinked link and an empty head point
 * to themselves. Links are named for the set they belong to (owner_link, store_link).
 */

#include <stdbool.h>
#include <stddef.h>

typedef struct List List;
struct List {
        List *next;
        List *prev;
};

#define LIST_INIT(var) ((List){.next = &(var), .prev = &(var)})

static inline void list_init(List *l)
{
        l->next = l->prev = l;
}

static inline bool list_is_empty(const List *l)
{
        return l->next == l;
}

/* Same question asked of a link. */
static inline bool list_is_linked(const List *l)
{
        return l->next != l;
}

static inline void list_append(List *head, List *link)
{
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}

/* Unlinking twice is harmless. */
static inline void list_unlink(List *link)
{
        link->prev->next = link->next;
        link->next->prev = link->prev;
        list_init(link);
}

#define list_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#define list_first(head, type, member) (list_is_empty(head) ? NULL : list_entry((head)->next, type, member))

/* `it` is a List *; the body must not unlink it. */
#define list_for_each(it, head) for (List *it = (head)->next; it != (head); it = it->next)

/* The body may unlink (and free) `it`, but not its successor. */
#define list_for_each_safe(it, head)                                        \
        for (List *it = (head)->next, *it##_next_ = it->next; it != (head); \
                it = it##_next_, it##_next_ = it->next)
