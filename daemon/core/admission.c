/* SPDX-License-Identifier: BSD-3-Clause */

#include "core/admission.h"

uint32_t admission_room(const AdmissionLimits *limits)
{
        return limits->sessions_max > limits->sessions_reserved
                       ? limits->sessions_max - limits->sessions_reserved
                       : 0;
}

Admission admission_decide(const AdmissionLimits *limits, const AdmissionRequest *request)
{
        uint32_t room = request->admin ? limits->sessions_max : admission_room(limits);
        uint32_t share = request->users > 0 ? room / request->users : room;

        if (!request->admin && request->own >= limits->sessions_per_uid)
                return ADMISSION_REFUSED_USER;
        if (request->total < room)
                return ADMISSION_GRANTED;
        if (request->largest == 0)
                return ADMISSION_REFUSED_ALL;
        if (request->admin)
                return ADMISSION_IN_PLACE;
        /* Nobody is pushed below his own share. */
        if (request->own < share && request->largest > share)
                return ADMISSION_IN_PLACE;
        return ADMISSION_REFUSED_ALL;
}
