/* Loads the model named on the command line and prints what it is: enough to need every dependency of the library. */
#include <stdio.h>
#include <unetdump.h>

int main(int argc, char **argv) {
    udump_model *model = NULL;
    udump_error error;
    udump_model_info info;
    if (argc != 2 || udump_model_load(argv[1], NULL, &model, &error) != UDUMP_OK) return 1;
    udump_model_get_info(model, &info);
    printf("unetdump %s, %d blocks\n", udump_version(), (int)info.block_count);
    udump_model_release(model);
    return 0;
}
