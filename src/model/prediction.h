/* What a checkpoint's U-Net predicts, where no config says so. */
#ifndef UDUMP_MODEL_PREDICTION_H
#define UDUMP_MODEL_PREDICTION_H

#include "model/model.h"

/* The webui's question to an SD 2 single file (sd_models_config.py, is_using_v_parameterization_for_sd2): mean(unet(x, 999, c) - x) of an
 * 8 x 8 latent x and two tokens c, all 0.5. At the noisiest level an eps model gives about its input back; a v model, which predicts
 * -image there, does not. The model's U-Net is loaded, and reads no pooled vector. Errors: MEMORY, DEVICE. */
udump_status udump_prediction_measure(const udump_model *model, double *mean, udump_error *error);
/* Below this it is v. */
#define UDUMP_PREDICTION_V_BELOW (-1.0)

#endif
