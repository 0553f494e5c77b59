/* SPDX-License-Identifier: Apache-2.0 */
/* The optimisers' part of device_cpu_vector.h, which includes it: one pass over the blocks, made vectors by the compiler.
 * Adam is bound by the square root and the division: an estimate refined by Newton's method takes as long. */

static void sgd(const struct device_sgd *step, size_t count, float *restrict parameters,
                const float *restrict gradients, float *restrict momentum)
{
    const float rate = step->learning_rate, decay = step->weight_decay, mu = step->momentum;
    const float kept = step->first ? 0.0f : mu;
    if (momentum == NULL) {
        for (size_t i = 0; i < count; i++) {
            parameters[i] -= rate * (gradients[i] + decay * parameters[i]);
        }
    } else if (step->nesterov) {
        for (size_t i = 0; i < count; i++) {
            float d = gradients[i] + decay * parameters[i];
            momentum[i] = kept * momentum[i] + d;
            parameters[i] -= rate * (d + mu * momentum[i]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            float d = gradients[i] + decay * parameters[i];
            momentum[i] = kept * momentum[i] + d;
            parameters[i] -= rate * momentum[i];
        }
    }
}

static void adam(const struct device_adam *step, size_t count, float *restrict parameters,
                 const float *restrict gradients, float *restrict m, float *restrict v)
{
    const float beta1 = step->beta1, beta2 = step->beta2, decay = step->weight_decay;
    const float new1 = 1.0f - beta1, new2 = 1.0f - beta2, rate = step->step_size, root = step->root_scale;
    const float epsilon = step->epsilon, keep = step->keep;
    for (size_t i = 0; i < count; i++) {
        float g = gradients[i] + decay * parameters[i];
        m[i] = beta1 * m[i] + new1 * g;
        v[i] = beta2 * v[i] + new2 * (g * g);
        parameters[i] = parameters[i] * keep - rate * m[i] / (sqrtf(v[i]) * root + epsilon);
    }
}

static void rmsprop(const struct device_rmsprop *step, size_t count, float *restrict parameters,
                    const float *restrict gradients, float *restrict square, float *restrict momentum)
{
    const float rate = step->learning_rate, alpha = step->alpha, fresh = 1.0f - alpha, decay = step->weight_decay;
    const float epsilon = step->epsilon, mu = step->momentum;
    if (momentum == NULL) {
        for (size_t i = 0; i < count; i++) {
            float g = gradients[i] + decay * parameters[i];
            square[i] = alpha * square[i] + fresh * (g * g);
            parameters[i] -= rate * g / (sqrtf(square[i]) + epsilon);
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        float g = gradients[i] + decay * parameters[i];
        square[i] = alpha * square[i] + fresh * (g * g);
        momentum[i] = mu * momentum[i] + g / (sqrtf(square[i]) + epsilon);
        parameters[i] -= rate * momentum[i];
    }
}

static double squared_norm(size_t count, const float *values)
{
    enum { BLOCK = 4096 }; /* sums in float are short, and their sum is in double */
    double total = 0.0;
    for (size_t first = 0; first < count; first += BLOCK) {
        const float *p = values + first;
        int64_t left = count - first < BLOCK ? (int64_t)(count - first) : BLOCK;
        vector sums[4] = {0};
        for (; left >= 4 * LANES; left -= 4 * LANES, p += 4 * LANES) {
            for (int i = 0; i < 4; i++) {
                vector v = load(p + i * LANES);
                sums[i] += v * v;
            }
        }
        for (; left > 0; left -= LANES, p += LANES) {
            vector v = left >= LANES ? load(p) : load_part(p, left, 0.0f);
            sums[0] += v * v;
        }
        total += (double)sum_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
    return total;
}

static void clip(float scale, float limit, size_t count, float *values)
{
    for (size_t i = 0; i < count; i++) {
        float v = values[i] * scale;
        v = v > limit ? limit : v;
        values[i] = v < -limit ? -limit : v;
    }
}
