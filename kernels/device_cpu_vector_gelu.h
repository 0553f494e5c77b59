/* SPDX-License-Identifier: Apache-2.0 */
/* gelu in vectors; device_cpu_vector.h includes it. */

/* The normal distribution at x, P(x), and e^(-x^2 / 2). For a = |x|, P(-a) = e^(-a^2 / 2) Q(1 / (1 + 0.26 a)) with a
 * polynomial Q fitted by weighted least squares to e^(a^2 / 2) erfc(a / sqrt 2) / 2 (relative error 3e-8): small values
 * keep their digits, as they would not in (1 + erf) / 2. */
INLINE vector normal_vector(vector x, vector *density)
{
    vector a = (vector)((integers)x & 0x7fffffff), t = 1.0f / (1.0f + a * 0.26f);
    vector q = splat(0.030505212f);
    q = q * t - 0.15283042f;
    q = q * t + 0.25149417f;
    q = q * t - 0.15095218f;
    q = q * t + 0.16094995f;
    q = q * t + 0.051026843f;
    q = q * t + 0.10303045f;
    q = q * t + 0.10301672f;
    q = q * t + 0.10375906f;
    *density = exp_vector(x * x * -0.5f);
    vector tail = *density * (q * t);
    return select_vector(x < (vector){0}, tail, 1.0f - tail);
}

INLINE vector gelu_vector(vector x)
{
    vector density;
    return x * normal_vector(x, &density);
}

/* dy times the slope at x. */
INLINE vector gelu_gradient_vector(vector x, vector dy)
{
    vector density, p = normal_vector(x, &density);
    return dy * (p + x * density * 0.39894228f);
}
