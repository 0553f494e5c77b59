/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/search_cma_es.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Names as in the tutorial. */
struct cma_es {
    size_t n;
    int64_t lambda, mu, generation;
    uint64_t seed;
    double mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi; /* chi: E|N(0, I)| */
    double sigma;
    double *weights;          /* (mu) */
    double *mean, *p_sigma, *p_c; /* (n) */
    double *c, *b, *d;        /* C (n, n); its eigenvectors in columns; the roots of its eigenvalues (n) */
    double *places, *steps;   /* (lambda, n): x, and y = (x - mean) / sigma */
    double *work;             /* (n, n) */
    int64_t *order;           /* (lambda) */
};

int64_t cma_es_population(size_t dimensions)
{
    return 4 + (int64_t)floor(3 * log((double)(dimensions ? dimensions : 1)));
}

/* One rotation of Jacobi's method on the symmetric a (n, n), and on the vectors b. */
static void rotate(double *a, double *b, size_t n, size_t p, size_t q)
{
    double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
    for (size_t k = 0; k < n; k++) {
        double kp = a[k * n + p], kq = a[k * n + q];
        a[k * n + p] = c * kp - s * kq;
        a[k * n + q] = s * kp + c * kq;
    }
    for (size_t k = 0; k < n; k++) {
        double pk = a[p * n + k], qk = a[q * n + k];
        a[p * n + k] = c * pk - s * qk;
        a[q * n + k] = s * pk + c * qk;
        double bp = b[k * n + p], bq = b[k * n + q];
        b[k * n + p] = c * bp - s * bq;
        b[k * n + q] = s * bp + c * bq;
    }
}

/* Eigenvectors of C into b, the roots of its eigenvalues into d, by cyclic Jacobi rotations. */
static void decompose(struct cma_es *state)
{
    size_t n = state->n;
    memcpy(state->work, state->c, n * n * sizeof *state->c);
    memset(state->b, 0, n * n * sizeof *state->b);
    for (size_t i = 0; i < n; i++)
        state->b[i * n + i] = 1;
    for (int sweep = 0; sweep < 50; sweep++) {
        double off = 0, diagonal = 0;
        for (size_t p = 0; p < n; p++) {
            diagonal += state->work[p * n + p] * state->work[p * n + p];
            for (size_t q = p + 1; q < n; q++)
                off += state->work[p * n + q] * state->work[p * n + q];
        }
        if (off <= 1e-24 * diagonal)
            break;
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++)
                if (state->work[p * n + q] != 0)
                    rotate(state->work, state->b, n, p, q);
    }
    for (size_t i = 0; i < n; i++) {
        double value = state->work[i * n + i];
        state->d[i] = sqrt(value > 1e-20 ? value : 1e-20);
    }
}

/* One draw into x and y: whether it lies within the cube. */
static bool draw(const struct cma_es *state, struct random_state *random, double *z, double *x, double *y)
{
    bool inside = true;
    for (size_t i = 0; i < state->n; i++)
        z[i] = state->d[i] * random_normal(random);
    for (size_t i = 0; i < state->n; i++) {
        y[i] = 0;
        for (size_t j = 0; j < state->n; j++)
            y[i] += state->b[i * state->n + j] * z[j];
        x[i] = state->mean[i] + state->sigma * y[i];
        inside = inside && x[i] >= 0 && x[i] < 1;
    }
    return inside;
}

static void sample(struct cma_es *state)
{
    size_t n = state->n;
    for (int64_t k = 0; k < state->lambda; k++) {
        struct random_state random;
        double *x = state->places + (size_t)k * n, *y = state->steps + (size_t)k * n;
        random_init(&random, state->seed, CMA_ES_STREAM + (uint64_t)(state->generation * state->lambda + k));
        for (int tries = 0; tries < 100 && !draw(state, &random, state->work, x, y); tries++)
            continue;
        for (size_t i = 0; i < n; i++) {
            x[i] = x[i] < 0 ? 0 : x[i] >= 1 ? 0x1.fffffffffffffp-1 : x[i];
            y[i] = (x[i] - state->mean[i]) / state->sigma;
        }
    }
}

static void set_rates(struct cma_es *state)
{
    double n = (double)state->n, sum = 0, squares = 0;
    for (int64_t i = 0; i < state->mu; i++)
        sum += state->weights[i] = log((double)state->lambda / 2 + 0.5) - log((double)i + 1);
    for (int64_t i = 0; i < state->mu; i++) {
        state->weights[i] /= sum;
        squares += state->weights[i] * state->weights[i];
    }
    double m = state->mu_eff = 1 / squares, limit;
    state->c_sigma = (m + 2) / (n + m + 5);
    limit = sqrt((m - 1) / (n + 1)) - 1;
    state->d_sigma = 1 + 2 * (limit > 0 ? limit : 0) + state->c_sigma;
    state->c_c = (4 + m / n) / (n + 4 + 2 * m / n);
    state->c_1 = 2 / ((n + 1.3) * (n + 1.3) + m);
    limit = 2 * (m - 2 + 1 / m) / ((n + 2) * (n + 2) + m);
    state->c_mu = limit < 1 - state->c_1 ? limit : 1 - state->c_1;
    state->chi = sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
}

struct cma_es *cma_es_new(size_t dimensions, int64_t population, uint64_t seed)
{
    size_t n = dimensions, lambda = (size_t)population;
    struct cma_es *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    *state = (struct cma_es){.n = n, .lambda = population, .mu = population / 2, .seed = seed, .sigma = 0.25};
    double **const vectors[] = {&state->mean, &state->p_sigma, &state->p_c, &state->d};
    bool done = true;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        done = (*vectors[i] = calloc(n, sizeof(double))) && done;
    double **const matrices[] = {&state->c, &state->b, &state->work};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        done = (*matrices[i] = calloc(n * n, sizeof(double))) && done;
    done = (state->weights = calloc(lambda, sizeof(double))) && done;
    done = (state->places = calloc(lambda * n, sizeof(double))) && done;
    done = (state->steps = calloc(lambda * n, sizeof(double))) && done;
    done = (state->order = calloc(lambda, sizeof *state->order)) && done;
    if (!done) {
        cma_es_free(state);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        state->mean[i] = 0.5;
        state->c[i * n + i] = 1;
    }
    set_rates(state);
    decompose(state);
    sample(state);
    return state;
}

void cma_es_free(struct cma_es *state)
{
    if (!state)
        return;
    double *const all[] = {state->weights, state->mean, state->p_sigma, state->p_c, state->c,
                           state->b, state->d, state->places, state->steps, state->work};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(state->order);
    free(state);
}

const double *cma_es_places(const struct cma_es *state)
{
    return state->places;
}

int64_t cma_es_generation(const struct cma_es *state)
{
    return state->generation;
}

/* By value, then by number: a population is small. */
static void rank(struct cma_es *state, const double *values)
{
    for (int64_t i = 0; i < state->lambda; i++) {
        int64_t at = i;
        for (; at > 0 && values[i] < values[state->order[at - 1]]; at--)
            state->order[at] = state->order[at - 1];
        state->order[at] = i;
    }
}

/* p_sigma with C^(-1/2) y = B D^-1 B' y, then sigma; whether p_c is to be held back. */
static bool move_sigma(struct cma_es *state, const double *y)
{
    size_t n = state->n;
    double *z = state->work, norm = 0, keep = 1 - state->c_sigma, by = sqrt(state->c_sigma * (2 - state->c_sigma) * state->mu_eff);
    for (size_t j = 0; j < n; j++) {
        z[j] = 0;
        for (size_t i = 0; i < n; i++)
            z[j] += state->b[i * n + j] * y[i];
        z[j] /= state->d[j];
    }
    for (size_t i = 0; i < n; i++) {
        double step = 0;
        for (size_t j = 0; j < n; j++)
            step += state->b[i * n + j] * z[j];
        state->p_sigma[i] = keep * state->p_sigma[i] + by * step;
        norm += state->p_sigma[i] * state->p_sigma[i];
    }
    norm = sqrt(norm);
    state->sigma *= exp(state->c_sigma / state->d_sigma * (norm / state->chi - 1));
    state->sigma = state->sigma < 1e-12 ? 1e-12 : state->sigma > 1 ? 1 : state->sigma;
    double aged = sqrt(1 - pow(keep, 2 * (double)(state->generation + 1)));
    return norm / aged >= (1.4 + 2 / ((double)n + 1)) * state->chi;
}

static void move_covariance(struct cma_es *state, const double *y, bool held)
{
    size_t n = state->n;
    double h = held ? 0 : 1, by = sqrt(state->c_c * (2 - state->c_c) * state->mu_eff);
    for (size_t i = 0; i < n; i++)
        state->p_c[i] = (1 - state->c_c) * state->p_c[i] + h * by * y[i];
    double keep = 1 - state->c_1 - state->c_mu + (1 - h) * state->c_1 * state->c_c * (2 - state->c_c);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t k = 0; k < state->mu; k++) {
                const double *step = state->steps + (size_t)state->order[k] * n;
                sum += state->weights[k] * step[i] * step[j];
            }
            double value = keep * state->c[i * n + j] + state->c_1 * state->p_c[i] * state->p_c[j] + state->c_mu * sum;
            state->c[i * n + j] = state->c[j * n + i] = value;
        }
}

void cma_es_tell(struct cma_es *state, const double *values)
{
    size_t n = state->n;
    double *y = state->places; /* the present ones are not needed any more; lambda > 0 */
    rank(state, values);
    memset(y, 0, n * sizeof *y);
    for (int64_t k = 0; k < state->mu; k++)
        for (size_t i = 0; i < n; i++)
            y[i] += state->weights[k] * state->steps[(size_t)state->order[k] * n + i];
    for (size_t i = 0; i < n; i++)
        state->mean[i] += state->sigma * y[i];
    bool held = move_sigma(state, y);
    move_covariance(state, y, held);
    decompose(state);
    state->generation++;
    sample(state);
}
