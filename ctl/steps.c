/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/steps.h"

#include <limits.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/terminal.h"
#include "ctl/text.h"

#define INDENT 24 /* where the text of a step begins */

static const char *kind_to_string(Pmbroker__V1__StepKind kind)
{
        static const char *const names[] = {
                [PMBROKER__V1__STEP_KIND__STEP_UNKNOWN] = "unknown",
                [PMBROKER__V1__STEP_KIND__STEP_REGION] = "region",
                [PMBROKER__V1__STEP_KIND__STEP_LABELS] = "labels",
                [PMBROKER__V1__STEP_KIND__STEP_NAMESPACE] = "namespace",
                [PMBROKER__V1__STEP_KIND__STEP_CONTENT] = "content",
                [PMBROKER__V1__STEP_KIND__STEP_FILE_SYSTEM] = "file-system",
                [PMBROKER__V1__STEP_KIND__STEP_MOUNT] = "mount",
                [PMBROKER__V1__STEP_KIND__STEP_TEST] = "self-test",
                [PMBROKER__V1__STEP_KIND__STEP_MEMORY] = "memory",
        };

        return (unsigned)kind < ELEMENTSOF(names) ? names[kind] : "unknown";
}

static const char *state_to_string(Pmbroker__V1__StepState state)
{
        static const char *const names[] = {
                [PMBROKER__V1__STEP_STATE__STEP_STATE_UNKNOWN] = "unknown",
                [PMBROKER__V1__STEP_STATE__EXISTS] = "exists",
                [PMBROKER__V1__STEP_STATE__PLANNED] = "planned",
                [PMBROKER__V1__STEP_STATE__DONE] = "done",
                [PMBROKER__V1__STEP_STATE__REFUSED] = "refused",
                [PMBROKER__V1__STEP_STATE__BROKEN] = "failed",
        };

        return (unsigned)state < ELEMENTSOF(names) ? names[state] : "unknown";
}

int steps_request(CtlConnection *c, Pmbroker__V1__ClientPacket *packet, const char *store,
        Pmbroker__V1__ServerPacket **ret)
{
        char subject[80], waiting[128];

        (void)snprintf(subject, sizeof(subject), "store %.60s", store);
        (void)snprintf(waiting, sizeof(waiting), "%s: this may take a while", subject);
        return ctl_request(c,
                &(CtlRequest){
                        .packet = packet,
                        .expected = PMBROKER__V1__SERVER_PACKET__BODY_PROVISIONED,
                        .changes = true,
                        .subject = subject,
                        .waiting = waiting,
                },
                ret);
}

bool steps_have(const Pmbroker__V1__ProvisionReport *report, Pmbroker__V1__StepState state)
{
        for (size_t i = 0; i < report->n_steps; i++)
                if (report->steps[i]->state == state)
                        return true;
        return false;
}

int steps_status(const Pmbroker__V1__ProvisionReport *report)
{
        return steps_have(report, PMBROKER__V1__STEP_STATE__REFUSED) ||
                               steps_have(report, PMBROKER__V1__STEP_STATE__BROKEN)
                       ? EXIT_REFUSED
                       : EXIT_DONE;
}

void steps_print(const Pmbroker__V1__ProvisionReport *report)
{
        unsigned columns = terminal_is_stdout() ? terminal_size().columns : UINT_MAX;

        for (size_t i = 0; i < report->n_steps; i++) {
                const Pmbroker__V1__ProvisionStep *step = report->steps[i];
                _cleanup_free_ char *text = text_escape(step->text);

                (void)printf("  %-8s %-12s ", state_to_string(step->state), kind_to_string(step->kind));
                text_wrap(stdout, text ? text : "", INDENT, columns);
        }
}

void steps_print_json(const Pmbroker__V1__ProvisionReport *report, Json *json)
{
        json_text(json, "store", report->store);
        json_bool(json, "refused", steps_status(report) != EXIT_DONE);
        json_open(json, "steps", '[');
        for (size_t i = 0; i < report->n_steps; i++) {
                json_open(json, NULL, '{');
                json_text(json, "step", kind_to_string(report->steps[i]->kind));
                json_text(json, "state", state_to_string(report->steps[i]->state));
                json_text(json, "text", report->steps[i]->text);
                json_close(json, '}');
        }
        json_close(json, ']');
}
