/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What becomes of clients and pools in a child: they are dead there. The memory is not inherited
 * (MADV_DONTFORK), its addresses are kept from being used for anything else, the descriptors are closed, and
 * every function fails or does nothing. The parent does not notice.
 */

struct pmb_client;

/* From here on until fork_forget() the client is seen to in every fork. */
void fork_remember(struct pmb_client *client);
void fork_forget(struct pmb_client *client);
