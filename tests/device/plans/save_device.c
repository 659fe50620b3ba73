/* Writes the card's properties as cuDNN tells them, from which check_plans and check_attention_plans plan without it. Usage: save_device FILE [FOLDER of cuDNN].
 * Exit status 77 without the library or a device. */
#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/dnn.h"

int main(int argc, char **argv) {
    static char json[65536];
    udump_dnn dnn;
    udump_error error;
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t properties;
    int32_t device = 0;
    int64_t length = 0;
    if (argc < 2) return fprintf(stderr, "usage: save_device FILE [FOLDER]\n"), 2;
    if (udump_dnn_load(argc > 2 ? argv[2] : NULL, &dnn, &error)) return printf("no cuDNN: %s\n", error.what), 77;
    cudnnStatus_t status = dnn.create(&handle);
    if (status) return printf("no device: %s\n", dnn.text(status)), 77;
    status = dnn.make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &properties);
    if (!status) status = dnn.set(properties, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1, &device);
    if (!status) status = dnn.finalize(properties);
    if (!status) status = dnn.get(properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)sizeof json - 1, &length, json);
    if (status) return printf("device properties: %s\n", dnn.text(status)), 1;
    FILE *file = fopen(argv[1], "w");
    if (!file || fputs(json, file) < 0 || fclose(file)) return perror(argv[1]), 1;
    printf("%s: %lld bytes\n", argv[1], (long long)length);
    return 0;
}
