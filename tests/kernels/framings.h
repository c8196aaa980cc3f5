/* Tables of the transforms and gates, as fft.pyx and gate.pyx make them, and room for the state of a gate. */

#ifndef FRAMINGS_H
#define FRAMINGS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#define PI 3.14159265358979323846

static float *zeros(size_t n)
{
    float *at = aligned_alloc(64, (n * sizeof(float) + 127) / 64 * 64);
    if (at == NULL)
        abort();
    memset(at, 0, n * sizeof(float));
    return at;
}

static void plan_fourier(FourierPlan *plan, int size)
{
    static const int radices[] = {5, 3, 4, 2};
    const int half = size / 2;
    int rest, m;
    float *w = zeros(4 * (size_t)half);
    memset(plan, 0, sizeof *plan);
    plan->size = size;
    plan->half = half;
    plan->n_columns = half % 64 ? 1 : 8;
    plan->scale = 1.0f / (float)size;
    plan->stage_twiddles = w;
    rest = m = half / plan->n_columns;
    for (int i = 0; i < 4; i++)
        for (; rest % radices[i] == 0; rest /= radices[i]) {
            const double angle = -2.0 * PI / m;
            plan->radices[plan->n_stages++] = radices[i];
            m /= radices[i];
            for (int p = 0; p < m; p++)
                for (int k = 1; k < radices[i]; k++) {
                    *w++ = (float)cos(angle * p * k);
                    *w++ = (float)sin(angle * p * k);
                }
        }
    plan->parting = w = zeros(2 * (size_t)half);
    for (int k = 0; k < half; k++) {
        w[k] = (float)cos(2.0 * PI * k / size);
        w[half + k] = (float)sin(2.0 * PI * k / size);
    }
    plan->lane_twiddles = w = zeros(2 * (size_t)half);
    for (int k = 0; k < half; k++) {
        w[k] = (float)cos(-2.0 * PI * (k / 8 * (k % 8)) / half);
        w[half + k] = (float)sin(-2.0 * PI * (k / 8 * (k % 8)) / half);
    }
}

static void forget_plan(const FourierPlan *plan)
{
    free((void *)plan->stage_twiddles);
    free((void *)plan->parting);
    free((void *)plan->lane_twiddles);
}

/* The transform must be at least as long as the output, and all of it even. */
static void frame_gate(GateFraming *framing, int size, int hop, int overlap)
{
    const int half = size / 2, put_out = hop + overlap;
    float *analysis = zeros((size_t)size), *synthesis = zeros((size_t)put_out + 8);
    plan_fourier(&framing->fourier, size);
    framing->hop = hop;
    framing->overlap = overlap;
    framing->n_bins = (half + 8) / 8 * 8 > 136 ? (half + 8) / 8 * 8 : 136;
    for (int n = 0; n < size; n++)
        analysis[n % 2 * half + n / 2] = (float)(0.5 / 32768 * sin(PI * (n + 0.5) / size));
    for (int n = 0; n < put_out; n++)
        synthesis[n % 2 * (put_out / 2) + n / 2] = 32768.0f / (float)size;
    framing->analysis = analysis;
    framing->synthesis = synthesis;
}

static void forget_framing(const GateFraming *framing)
{
    forget_plan(&framing->fourier);
    free((void *)framing->analysis);
    free((void *)framing->synthesis);
}

/* A state of n_streams side by side; its memory is the first array's. */
static void begin_gate(GateState *state, const GateFraming *framing, int n_streams)
{
    const size_t n = (size_t)n_streams, bins = n * (size_t)framing->n_bins, half = n * (size_t)framing->fourier.half;
    const size_t hop = n * (size_t)framing->hop / 2, overlap = n * (size_t)framing->overlap / 2;
    float *at = zeros(5 * bins + n * GATE_HIDDEN + 2 * (half + hop + overlap) + 8);
    memset(state, 0, sizeof *state);
    state->noise = at;
    state->smoothed = at + bins;
    state->minimum = at + 2 * bins;
    state->clean = at + 3 * bins;
    state->before = at + 4 * bins;
    state->hidden = at + 5 * bins;
    state->even = state->hidden + n * GATE_HIDDEN;
    state->odd = state->even + half;
    state->even_ready = state->odd + half;
    state->odd_ready = state->even_ready + hop;
    state->even_tail = state->odd_ready + hop;
    state->odd_tail = state->even_tail + overlap;
}

#endif
