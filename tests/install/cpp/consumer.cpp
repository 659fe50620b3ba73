// Somebody else's C++: samples a picture with the model on the command line and watches one block, without the library's own names for anything.
#include <unetdump.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(udump_status status, const udump_error &error) {
    if (status == UDUMP_OK) return;
    std::string line(udump_error_format(&error, nullptr, 0) + 1, '\0');
    udump_error_format(&error, line.data(), line.size());
    throw std::runtime_error(line);
}

struct Seen {
    std::vector<std::string> tensors;
    int images = 0;
};

udump_flow on_tensor(void *user, const udump_place *place, const udump_view *tensor) {
    std::string shape;
    for (int i = 0; i < tensor->rank; i++) shape += (i ? ", " : "") + std::to_string(tensor->shape[i]);
    static_cast<Seen *>(user)->tensors.push_back(std::string(place->block) + ", step " + std::to_string(place->step) + ": [" + shape + "]");
    return UDUMP_CONTINUE;
}

udump_flow on_image(void *user, int32_t, udump_variant, const udump_picture *, const char *) {
    static_cast<Seen *>(user)->images++;
    return UDUMP_CONTINUE;
}

} // namespace

int main(int argc, char **argv) try {
    if (argc != 2) throw std::invalid_argument("usage: consumer MODEL");
    udump_error error;
    udump_model *loaded = nullptr;
    check(udump_model_load(argv[1], nullptr, &loaded, &error), error);
    const std::unique_ptr<udump_model, decltype(&udump_model_release)> model(loaded, udump_model_release);
    udump_session *created = nullptr;
    check(udump_session_create(model.get(), &created, &error), error);
    const std::unique_ptr<udump_session, decltype(&udump_session_destroy)> session(created, udump_session_destroy);

    udump_generate_options options;
    udump_generate_options_init(&options);
    options.prompt = "a red circle";
    options.width_px = options.height_px = 64;
    options.steps = 2;
    options.features = "OUT05";
    options.no_canvas = options.want_tensors = 1;
    Seen seen;
    udump_sink sink{};
    sink.struct_bytes = sizeof sink;
    sink.user = &seen;
    sink.tensor = on_tensor;
    sink.image = on_image;
    check(udump_generate(session.get(), &options, &sink, &error), error);

    udump_model_info info;
    udump_model_get_info(model.get(), &info);
    std::cout << "unetdump " << udump_version() << ", " << info.block_count << " blocks\n";
    for (const std::string &tensor : seen.tensors) std::cout << tensor << '\n';
    std::cout << seen.images << " image\n";
} catch (const std::exception &failure) {
    std::cerr << "consumer: " << failure.what() << '\n';
    return 1;
}
