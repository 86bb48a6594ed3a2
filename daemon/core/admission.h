/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who may have one more session. As long as there is room, everybody up to the limit per user. When there is none,
 * who has less than his share (what there is, divided by the users who have any) gets in all the same, in the place of
 * a session of whoever has the most; and so does an administrator, always.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct AdmissionLimits {
        uint32_t sessions_max;
        uint32_t sessions_per_uid;  /* does not hold for administrators */
        uint32_t sessions_reserved; /* of sessions_max, for administrators */
} AdmissionLimits;

typedef struct AdmissionRequest {
        bool admin;
        uint32_t own;     /* sessions of the user who asks */
        uint32_t total;   /* sessions */
        uint32_t users;   /* who have any, and the one who asks */
        uint32_t largest; /* sessions of the user who has the most */
} AdmissionRequest;

typedef enum Admission {
        ADMISSION_GRANTED,
        ADMISSION_IN_PLACE,     /* of a session of the user who has the most */
        ADMISSION_REFUSED_USER, /* the user has all that one may have */
        ADMISSION_REFUSED_ALL,  /* there is no room, and the user has his share */
} Admission;

Admission admission_decide(const AdmissionLimits *limits, const AdmissionRequest *request);
/* How many sessions there are for those who are no administrators. */
uint32_t admission_room(const AdmissionLimits *limits);
