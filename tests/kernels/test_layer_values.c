/* SPDX-License-Identifier: Apache-2.0 */
/* Layers give PyTorch's numbers. The expected ones were computed once with PyTorch 2.15 in float64, by the function of
 * torch.nn.functional that has the layer's name (dense: linear, then gelu; global_pool: adaptive pooling; upsample:
 * interpolate), training, from
 *   input element i:                 2 sin(1.7 i + 0.3), or i mod ids
 *   element j of tensor t:           0.5 + 0.25 cos(0.9 j + t), in the order and the layout of files
 *   gradient of output element i:    cos(0.7 i). */
#include "kernels/net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 48

static const struct expectation {
    const char *text;
    int64_t rows;
    struct shape shape;
    int64_t ids;
    double y[LONGEST], dx[LONGEST];
    double gradients[LONGEST]; /* of the trained tensors */
    double buffers[LONGEST];   /* after the step */
} expectations[] = {
    {.text = "gelu", .rows = 2, .shape = {1, {7}},
     .y = {0.4271764, 1.755878, -0.1532783, -0.09444601, 1.352341, 1.028245, -0.06906582, -0.1696962, 1.893574,
      0.1261395, -0.04553872, 0.1851936, 1.869858, -0.1695769},
     .dx = {0.9207562, 0.8446471, -0.01639845, 0.06343703, -1.063316, -1.043586, 0.05395766, 0.002933788,
      0.8463472, 0.669221, -0.06429317, 0.1122925, -0.5678868, 0.01702346}},
    {.text = "leaky_relu:0.3", .rows = 2, .shape = {1, {3}},
     .y = {0.5910404, 1.818595, -0.3179017, -0.4636587, 1.457938, 1.169834},
     .dx = {1, 0.7648422, 0.05099014, -0.1514538, -0.9422224, -0.9364567}},
    {.text = "softmax", .rows = 2, .shape = {1, {4}},
     .y = {0.2117368, 0.7226307, 0.04063506, 0.02499747, 0.5253694, 0.393861, 0.0210473, 0.05972228},
     .dx = {0.05108743, 0.00442266, -0.02392409, -0.031586, -0.04160613, -0.02892057, 0.007845748, 0.06268096}},
    {.text = "softmax:0", .rows = 1, .shape = {2, {3, 2}},
     .y = {0.2799999, 0.642143, 0.05373564, 0.02221321, 0.6662645, 0.3356438},
     .dx = {0.3748179, 0.3847941, 0.02733012, -0.01489294, -0.4021481, -0.3699012}},
    {.text = "dense:3:gelu", .rows = 2, .shape = {1, {4}},
     .y = {1.261176, -0.1486916, 0.5608924, 1.421411, -0.1274845, 0.8968264},
     .dx = {0.9893366, 0.8672698, 0.6250129, 0.4459011, -1.155079, -0.9202126, -0.674351, -0.6035572},
     .gradients = {-0.1622983, 1.387023, -0.1951222, -1.336742, -0.2460398, -0.03623745, 0.2553778, -0.02957059,
      -1.395075, -0.8930105, 1.625194, 0.4742159, 0.5597582, -0.09746789, -0.8567531}},
    {.text = "batch_norm:0.001:0.3", .rows = 4, .shape = {1, {3}},
     .y = {1.512036, 1.119495, -0.3902624, -0.02928936, 0.9690158, 0.4953782, -0.1835702, 0.0617763, 0.8029108,
      1.241126, -0.4735769, 0.149751},
     .dx = {-0.08392054, 0.3623374, 0.07537802, -0.07258938, -0.3763019, -0.3965905, 0.04773104, -0.06444588,
      0.2722163, 0.1087789, 0.07841041, 0.04899615},
     .gradients = {2.959569, -1.101837, 0.1635539, 1.004752, 0.7630345, 0.1624502},
     .buffers = {0.08979634, 0.2221217, 0.3881255, 0.6086937, 1.209545, 0.8628339}},
    {.text = "batch_norm", .rows = 2, .shape = {3, {2, 2, 3}},
     .y = {0.8240573, 1.484923, -0.06461953, -0.3261851, 1.29076, 1.135657, -0.3711604, 0.1119781, 1.344442,
      0.5437111, -0.4824133, 0.5827385, 1.540756, 0.07780933, -0.4187211, 1.172177, 1.25875, -0.3544565,
      -0.01320288, 1.301955, 0.6798405, -0.4750054, 0.4447002, 1.362548},
     .dx = {0.6392336, 0.4994343, 0.2101276, -0.1479401, -0.415702, -0.4095, -0.2730049, 0.02497195, 0.2582137,
      0.3878695, 0.3069314, -0.005519561, -0.193005, -0.3944356, -0.375207, -0.1620889, 0.2014813, 0.5476017,
      0.405584, 0.2443777, -0.01634938, -0.2897348, -0.5135858, -0.5297537},
     .gradients = {0.3339079, 0.5460129, -2.332614, 1.847203},
     .buffers = {0.3803677, 0.2262026, 0.4389728, 0.5050247}},
    {.text = "layer_norm", .rows = 2, .shape = {1, {5}},
     .y = {0.8246021, 1.185301, -0.1696129, -0.07971169, 0.7201209, 1.204556, -0.5421704, -0.03436583,
      0.6572091, 0.4813535},
     .dx = {0.3965475, 0.1215213, 0.01317666, -0.1109105, -0.420335, -0.4854915, -0.1356848, 0.1498782,
      0.1938298, 0.2774683},
     .gradients = {-0.4583565, 1.613169, -0.2922099, 1.722707, -0.8137138, 0.06354332, 0.2745814, 0.3564795,
      0.2707198, 0.05763626}},
    {.text = "layer_norm:2:0.01", .rows = 2, .shape = {3, {2, 2, 2}},
     .y = {0.9928427, 1.331547, -0.06949032, -0.01768879, 1.432346, 0.9745287, -0.3319128, 0.1332304, 1.611161,
      0.4660798, -0.4023564, 0.3240054, 1.528089, -0.005034506, -0.2988881, 0.487332},
     .dx = {0.2351144, -0.1469297, -0.00337727, -0.08480739, -0.05030547, -0.0214297, -0.1382243, 0.2099595,
      0.05591912, 0.1754194, 0.03288565, -0.2642242, -0.07479677, -0.1172361, 0.06274784, 0.1292851},
     .gradients = {-0.1335367, 0.9561869, 0.5799858, 0.1320376, 0.3140548, -0.1194775, -0.4968177, -0.6404968}},
    {.text = "embedding:4:3", .rows = 3, .shape = {1, {2}}, .ids = 3,
     .y = {0.75, 0.6554025, 0.4431995, 0.273982, 0.2758104, 0.4473011, 0.6586732, 0.7499647, 0.6520878, 0.75,
      0.6554025, 0.4431995, 0.273982, 0.2758104, 0.4473011, 0.6586732, 0.7499647, 0.6520878},
     .gradients = {1.999859, 1.518744, 0.323341, -1.024135, -1.889944, -1.866883, -0.9657978, 0.3895172,
      1.561636, 0, 0, 0}},
    {.text = "max_pool:2", .rows = 1, .shape = {3, {2, 4, 5}},
     .y = {1.818595, 1.944015, 1.39848, 1.922305, 0.9897707, 1.9831, 1.719232, 1.757699},
     .dx = {0, 1, 0, 0, 0, 0, 0, 0, 0.7648422, 0, 0, 0, -0.5048461, 0, 0, 0, 0.1699671, 0, 0, 0, 0, 0, 0,
      -0.9364567, 0, 0, -0.9422224, 0, 0, 0, -0.4902608, 0, 0, 0, 0, 0, 0, 0, 0.1865124, 0}},
    {.text = "max_pool:3:2:1", .rows = 1, .shape = {3, {1, 4, 5}},
     .y = {1.818595, 1.944015, 1.944015, 1.39848, 1.944015, 1.944015},
     .dx = {0, 1, 0, 0, 0, 0, 0, 0, -0.9438697, 0, 0, 0, 0, 0, 0, 0, -0.5048461, 0, 0, 0}},
    {.text = "avg_pool:3:2:1", .rows = 1, .shape = {3, {1, 4, 5}},
     .y = {0.2022309, -0.1464935, 0.2302146, 0.03853316, -0.03234794, 0.05695722},
     .dx = {0.1111111, 0.1960936, 0.08498247, 0.1038677, 0.01888524, 0.0550171, 0.0353082, -0.0197089,
      -0.1048744, -0.0851655, -0.05609401, -0.1607854, -0.1046914, -0.2087421, -0.1040507, -0.05609401,
      -0.1607854, -0.1046914, -0.2087421, -0.1040507}},
    {.text = "avg_pool:3:2:1:false", .rows = 1, .shape = {3, {1, 4, 5}},
     .y = {0.4550195, -0.2197403, 0.5179828, 0.05779974, -0.03234794, 0.08543583},
     .dx = {0.25, 0.3774737, 0.1274737, 0.1699655, 0.04249179, 0.165859, 0.1886413, 0.02278233, -0.090802,
      -0.1135843, -0.08414102, -0.1888324, -0.1046914, -0.2607675, -0.1560761, -0.08414102, -0.1888324,
      -0.1046914, -0.2607675, -0.1560761}},
    {.text = "global_pool", .rows = 2, .shape = {3, {2, 2, 3}},
     .y = {0.4053677, -0.3360204, 0.07464787, 0.2293835},
     .dx = {0.1666667, 0.1666667, 0.1666667, 0.1666667, 0.1666667, 0.1666667, 0.1274737, 0.1274737, 0.1274737,
      0.1274737, 0.1274737, 0.1274737, 0.02832786, 0.02832786, 0.02832786, 0.02832786, 0.02832786, 0.02832786,
      -0.08414102, -0.08414102, -0.08414102, -0.08414102, -0.08414102, -0.08414102}},
    {.text = "global_pool:max", .rows = 2, .shape = {3, {2, 2, 3}},
     .y = {1.818595, 1.944015, 1.922305, 1.9831},
     .dx = {0, 1, 0, 0, 0, 0, 0, 0, 0.7648422, 0, 0, 0, 0.1699671, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -0.5048461}},
    {.text = "upsample:2", .rows = 1, .shape = {3, {1, 2, 3}},
     .y = {0.5910404, 0.5910404, 1.818595, 1.818595, -1.059672, -1.059672, 0.5910404, 0.5910404, 1.818595,
      1.818595, -1.059672, -1.059672, -1.545529, -1.545529, 1.457938, 1.457938, 1.169834, 1.169834, -1.545529,
      -1.545529, 1.457938, 1.457938, 1.169834, 1.169834},
     .dx = {1.461094, 1.440546, -0.9714029, 0.2751735, -1.80281, -0.8880106}},
};

static void expect_values(const char *text, const char *what, const float *values, const double *expected, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        cr_expect_float_eq((double)values[i], expected[i], 2e-6 * (1.0 + fabs(expected[i])), "%s: %s %lld: %g, not %g",
                           text, what, (long long)i, (double)values[i], expected[i]);
    }
}

/* A tensor's values without padding. */
static void pack(const struct tensor *tensor, float *values)
{
    for (int64_t r = 0; r < tensor->rows; r++) {
        memcpy(values + r * tensor->columns, tensor->data + r * tensor->stride,
               (size_t)tensor->columns * sizeof *values);
    }
}

static bool is_buffer(const char *name)
{
    return strstr(name, "running") != NULL;
}

/* The tensors by the formula at the top of this file, and the values of those that are trained, or not, one behind the
 * other. */
static void set_tensors(struct net *net)
{
    for (size_t t = 0; t < net_tensor_count(net); t++) {
        char name[128];
        struct shape shape;
        float values[LONGEST];
        cr_assert_eq(net_tensor(net, t, name, sizeof name, &shape), 0);
        cr_assert(shape_size(&shape) <= LONGEST);
        for (int64_t j = 0; j < shape_size(&shape); j++) {
            values[j] = (float)(0.5 + 0.25 * cos(0.9 * (double)j + (double)t));
        }
        net_tensor_set(net, t, values);
    }
}

static int64_t get_tensors(struct net *net, bool buffers, float *values)
{
    int64_t count = 0;
    for (size_t t = 0; t < net_tensor_count(net); t++) {
        char name[128];
        struct shape shape;
        cr_assert_eq(net_tensor(net, t, name, sizeof name, &shape), 0);
        if (is_buffer(name) == buffers) {
            net_tensor_get(net, t, values + count);
            count += shape_size(&shape);
        }
    }
    return count;
}

static void check(const struct expectation *expectation, const char *device_name)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(expectation->text, &error);
    struct device *device = device_open(device_name, 1, &error);
    cr_assert(architecture != NULL && device != NULL, "%s", error.message);
    struct net *net = net_new(&(struct net_options){.architecture = architecture, .batch_size = expectation->rows,
                                                    .input_shapes = {expectation->shape}, .device = device,
                                                    .trains = true, .input_gradients = true}, &error);
    cr_assert_not_null(net, "%s: %s", expectation->text, error.message);
    const int64_t count = expectation->rows * shape_size(&expectation->shape);
    float x[LONGEST], dy[LONGEST], values[LONGEST];
    for (int64_t i = 0; i < LONGEST; i++) {
        x[i] = expectation->ids > 0 ? (float)(i % expectation->ids) : (float)(2.0 * sin(1.7 * (double)i + 0.3));
        dy[i] = (float)cos(0.7 * (double)i);
    }
    set_tensors(net);
    struct net_batch batch = {.rows = expectation->rows, .inputs = {x}};
    cr_assert_eq(net_forward(net, &batch, true, &error), 0, "%s", error.message);
    const struct tensor *y = net_output(net, 0);
    pack(y, values);
    expect_values(expectation->text, "output", values, expectation->y, y->rows * y->columns);
    struct tensor gradient = {.data = dy, .rows = y->rows, .columns = y->columns, .stride = y->columns};
    cr_assert_eq(net_backward(net, &gradient, &error), 0, "%s", error.message);
    pack(net_input_gradient(net, 0), values);
    expect_values(expectation->text, "input gradient", values, expectation->dx, count);
    int64_t buffers = get_tensors(net, true, values);
    expect_values(expectation->text, "buffer", values, expectation->buffers, buffers);
    /* Gradients have no names: they take the place of the parameters. */
    memcpy(net_parameters(net), net_gradients(net), net_trained_floats(net) * sizeof(float));
    int64_t trained = get_tensors(net, false, values);
    expect_values(expectation->text, "gradient", values, expectation->gradients, trained);
    net_free(net);
    device_close(device);
    architecture_free(architecture);
}

Test(layer_values, are_those_of_pytorch)
{
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        check(&expectations[i], "ref");
        check(&expectations[i], "cpu");
    }
}
